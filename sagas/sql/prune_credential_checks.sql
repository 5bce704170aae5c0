-- prune_credential_checks: delete up to `limit` checks older than an instant, but no integration's last.
-- index: credential_checks_latest_idx (integration, checked_at desc)
-- why: as prune_job_runs. Reports tell each integration's last word, however old it is.
with recursive names as (
    (
        select c.integration
        from credential_checks as c
        order by c.integration
        limit 1
    )
    union all
    select (
        select c.integration
        from credential_checks as c
        where c.integration > names.integration
        order by c.integration
        limit 1
    )
    from names
    where names.integration is not null
),
old as (
    select checked.id
    from names
    cross join lateral (
        select c.id
        from credential_checks as c
        where c.integration = names.integration
            and c.checked_at < %(before)s
            and exists (
                select
                from credential_checks as newer
                where newer.integration = c.integration and newer.checked_at > c.checked_at
            )
        order by c.checked_at
        limit %(limit)s
    ) as checked
    limit %(limit)s
)
delete from credential_checks as c
where c.id = any(array(select old.id from old))
