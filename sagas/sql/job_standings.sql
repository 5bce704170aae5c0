-- job_standings: how each of some jobs stands: its last run that ended, its lease, what is asked for.
-- index: job_runs_latest_idx (job_name, started_at desc);
--      job_locks_one_holder_per_job (job_name); job_requests_one_per_job (job_name)
-- why: one statement per look, whatever the number of jobs and runs. A run that never ended, because
--      its process did, is none: its job falls due again when the lease runs out.
select
    asked.job_name,
    last.started_at as ended,
    held.lease_until as held_until,
    request.requested_at,
    (
        select count(*)
        from job_runs as r
        where r.job_name = asked.job_name
            and r.status = 'failed'
            and r.started_at > coalesce(
                (
                    select good.started_at
                    from job_runs as good
                    where good.job_name = asked.job_name and good.status = 'done'
                    order by good.started_at desc
                    limit 1
                ),
                '-infinity'
            )
    ) as failures
from unnest(%(jobs)s::text[]) as asked (job_name)
left join lateral (
    select r.started_at
    from job_runs as r
    where r.job_name = asked.job_name and r.status in ('done', 'failed')
    order by r.started_at desc
    limit 1
) as last on true
left join job_locks as held on held.job_name = asked.job_name
left join job_requests as request on request.job_name = asked.job_name
