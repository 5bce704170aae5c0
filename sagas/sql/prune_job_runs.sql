-- prune_job_runs: delete up to `limit` runs that began before an instant, but no job's last that ended.
-- index: job_runs_latest_idx (job_name, started_at desc)
-- why: the names are walked along the index, so that a job that is no more is found too, and runs
--      that are young are not read. How a job stands is its last run that ended, however old it is.
with recursive names as (
    (
        select r.job_name
        from job_runs as r
        order by r.job_name
        limit 1
    )
    union all
    select (
        select r.job_name
        from job_runs as r
        where r.job_name > names.job_name
        order by r.job_name
        limit 1
    )
    from names
    where names.job_name is not null
),
old as (
    select run.id
    from names
    cross join lateral (
        select r.id
        from job_runs as r
        where r.job_name = names.job_name
            and r.started_at < %(before)s
            and exists (
                select
                from job_runs as newer
                where newer.job_name = r.job_name
                    and newer.started_at > r.started_at
                    and newer.status in ('done', 'failed')
            )
        order by r.started_at
        limit %(limit)s
    ) as run
    limit %(limit)s
)
delete from job_runs as r
where r.id = any(array(select old.id from old))
