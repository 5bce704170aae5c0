-- ended_since: whether a run of a job that began at an instant or later has ended.
-- index: job_runs_latest_idx (job_name, started_at desc)
-- why: asked under the job's lease, so that two who found the same run due do it once. A run that
--      never ended, because its process did, does not count: somebody has to do it again.
select exists (
    select
    from job_runs
    where job_name = %(job)s and started_at >= %(since)s and status in ('done', 'failed')
)
