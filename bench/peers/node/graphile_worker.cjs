// graphile-worker with the settings of its own performance page: a local queue of 500, completions
// gathered; `refetchDelay` as in its perfTest.
const { Pool } = require("pg");
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");
const harness = require("./harness.cjs");

const CONCURRENT = harness.setting("CONCURRENCY", 24);
const LOCAL = harness.setting("BATCH", 500);
const REFETCH_MS = 10;
const PUBLISHED_AT_ONCE = 10000;

const worker = {
  connectionString: harness.DSN,
  concurrentJobs: CONCURRENT,
  maxPoolSize: CONCURRENT + 1,
  localQueue: { size: LOCAL, refetchDelay: { durationMs: REFETCH_MS } },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
  logger: new Logger(() => () => {}),
};
const preset = { worker };
let pool;
const database = () => (pool ??= new Pool({ connectionString: harness.DSN, max: 2 }));

harness.main({
  settings:
    `concurrentJobs=${CONCURRENT}, maxPoolSize=${CONCURRENT + 1}, localQueue.size=${LOCAL}, ` +
    `refetchDelay=${REFETCH_MS} ms, completeJobBatchDelay=0, node ${process.version}`,
  bulkHow: `graphile_worker.add_jobs, ${PUBLISHED_AT_ONCE} a call, as its perfTest`,
  async setup() {
    await runMigrations({ preset });
  },
  async fill(count) {
    const add =
      "select 1 from graphile_worker.add_jobs(array(" +
      "select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))";
    for (let begin = 0; begin < count; begin += PUBLISHED_AT_ONCE) {
      const jobs = [];
      for (let number = begin; number < Math.min(count, begin + PUBLISHED_AT_ONCE); number++)
        jobs.push({ identifier: "noop", payload: harness.payload(number) });
      await database().query(add, [JSON.stringify(jobs)]);
    }
  },
  async opener() {
    const utils = await makeWorkerUtils({ preset });
    return (number) => utils.addJob("noop", harness.payload(number));
  },
  async remaining() {
    const left = "select count(*) from (select 1 from graphile_worker._private_jobs limit 1) s";
    return +(await database().query(left)).rows[0].count;
  },
  async work(on) {
    const noop = async (job) => on(job.seq);
    await run({ preset, noHandleSignals: true, taskList: { noop } });
  },
});
