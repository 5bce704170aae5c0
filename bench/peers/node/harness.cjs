// The commands, clocks and report of ../harness.py for the peers that run on Node.
const fs = require("fs");

const DSN = process.env.BENCH_DSN;
const STAMP_EVERY = 1000;
const WARM_UP = 200;

const setting = (name, otherwise) => +(process.env[`BENCH_${name}`] || otherwise);
const now = () => process.hrtime.bigint();
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const emit = (report) => fs.writeSync(1, "RESULT " + JSON.stringify(report) + "\n");
const seconds = (from, to) => Number(to - from) / 1e9;

const payload = (number) => ({
  seq: number,
  order_id: 1000000 + number,
  customer: "c" + String(number % 5000).padStart(5, "0"),
  amount: `${number % 1000}.${String(number % 100).padStart(2, "0")}`,
  note: "x".repeat(110),
});

function peakMb() {
  const held = /VmHWM:\s+(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"));
  return Math.round(+held[1] / 102.4) / 10;
}

function cpuSeconds() {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
}

class Progress {
  constructor(wanted, keep = false) {
    Object.assign(this, { wanted, keep, count: 0, first: 0n, stamps: [], seen: {} });
    this.all = new Promise((done) => (this.done = done));
  }

  hit(number) {
    const at = now();
    if (!this.count) [this.first, this.cpuBefore] = [at, cpuSeconds()];
    this.count++;
    if (this.keep) this.seen[number] ??= Number(at);
    else if (this.count % STAMP_EVERY === 0) this.stamps.push([this.count, at]);
    if (this.count === this.wanted) this.done();
  }

  report(settings, stopped) {
    return {
      count: this.count,
      first_ns: Number(this.first),
      seconds: seconds(this.first, now()),
      peak_mb: peakMb(),
      cpu_seconds: Math.round((cpuSeconds() - this.cpuBefore) * 1000) / 1000,
      stamps_ms: this.stamps.map(([count, at]) => [count, Number(at - this.first) / 1e6]),
      settings,
      ...(stopped ? { stopped } : {}),
    };
  }
}

const within = (promise, secondsMax) =>
  Promise.race([promise.then(() => false), sleep(secondsMax * 1000).then(() => true)]);

async function produce(peer, rate, duration, path) {
  const one = await peer.opener();
  const count = Math.round(rate * duration);
  const stamps = {};
  const began = now();
  for (let number = 0; number < count; number++) {
    const due = began + BigInt(Math.round((number / rate) * 1e9));
    const early = Number(due - now()) / 1e6;
    if (early > 1) await sleep(early - 0.5);
    while (now() < due) await new Promise((wake) => setImmediate(wake));
    const before = now();
    await one(number);
    stamps[number] = [Number(before), Number(now())];
  }
  const took = seconds(began, now());
  fs.writeFileSync(path, JSON.stringify(stamps));
  emit({ sent: count, rate: Math.round((count / took) * 10) / 10 });
}

const commands = {
  async setup(peer) {
    await peer.setup();
    emit({ settings: peer.settings });
  },
  async fill(peer, count) {
    const began = now();
    await peer.fill(+count);
    emit({ count: +count, seconds: seconds(began, now()), how: peer.bulkHow });
  },
  async publish(peer, count) {
    const one = await peer.opener();
    for (let number = 0; number < WARM_UP; number++) await one(number);
    const began = now();
    for (let number = 0; number < +count; number++) await one(number);
    emit({ count: +count, seconds: seconds(began, now()) });
  },
  async drain(peer, count, secondsMax) {
    const progress = new Progress(+count);
    await peer.work((number) => progress.hit(number));
    const stopped = await within(progress.all, +secondsMax);
    while (!stopped && (await peer.remaining())) await sleep(10);
    emit(progress.report(peer.settings, stopped));
  },
  async first(peer, count, secondsMax) {
    const progress = new Progress(+count);
    await peer.work((number) => progress.hit(number));
    const stopped = await within(progress.all, +secondsMax);
    emit(progress.report(peer.settings, stopped));
  },
  async consume(peer, count, path, secondsMax) {
    const progress = new Progress(+count, true);
    await peer.work((number) => progress.hit(number));
    await sleep(setting("SETTLE_SECONDS", 3) * 1000);
    fs.writeSync(1, "READY\n");
    await within(progress.all, +secondsMax);
    fs.writeFileSync(path, JSON.stringify(progress.seen));
    emit({ seen: Object.keys(progress.seen).length, settings: peer.settings });
  },
  produce: (peer, rate, duration, path) => produce(peer, +rate, +duration, path),
};

async function main(peer) {
  const [command, ...terms] = process.argv.slice(2);
  await commands[command](peer, ...terms);
  process.exit(0);
}

module.exports = { DSN, main, payload, setting };
