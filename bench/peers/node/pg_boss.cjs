// pg-boss: batches, bursts while batches are full, LISTEN and NOTIFY for latency, as documented.
const { Pool } = require("pg");
const { PgBoss } = require("pg-boss");
const harness = require("./harness.cjs");

const BATCH = harness.setting("BATCH", 1000);
const LOCAL = harness.setting("CONCURRENCY", 2);
const PUBLISHED_AT_ONCE = 1000;

async function started() {
  const boss = new PgBoss({ connectionString: harness.DSN, useListenNotify: true, max: 10 });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
}

let pool;
const database = () => (pool ??= new Pool({ connectionString: harness.DSN, max: 1 }));

harness.main({
  settings:
    `batchSize=${BATCH}, localConcurrency=${LOCAL}, burstWhenBatchFull, ` +
    `pollingIntervalSeconds=0.5, notify, node ${process.version}`,
  bulkHow: `boss.insert, ${PUBLISHED_AT_ONCE} a call`,
  async setup() {
    const boss = await started();
    await boss.createQueue("q", { notify: true });
  },
  async fill(count) {
    const boss = await started();
    for (let begin = 0; begin < count; begin += PUBLISHED_AT_ONCE) {
      const jobs = [];
      for (let number = begin; number < Math.min(count, begin + PUBLISHED_AT_ONCE); number++)
        jobs.push({ data: harness.payload(number) });
      await boss.insert("q", jobs);
    }
  },
  async opener() {
    const boss = await started();
    return (number) => boss.send("q", harness.payload(number));
  },
  async remaining() {
    const left =
      "select count(*) from (select 1 from pgboss.job " +
      "where name = 'q' and state < 'completed' limit 1) s";
    return +(await database().query(left)).rows[0].count;
  },
  async work(on) {
    const boss = await started();
    const terms = {
      batchSize: BATCH,
      localConcurrency: LOCAL,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    };
    await boss.work("q", terms, async (jobs) => jobs.forEach((job) => on(job.data.seq)));
  },
});
