-- my_reports: reconciliation reports of the caller's organisations, the newest first.
-- index: reconciliation_reports_latest_idx (organisation_id, started_at desc)
-- why: the policy opens headers to staff; `administered` says whether the totals are for the caller.
select
    r.id as report_id, r.organisation_id, o.code as organisation, r.started_at, r.finished_at,
    r.complete, r.dry_run, r.totals, r.repaired, r.unknown_pushes, r.failed_pushes, r.open_alerts,
    r.credential_status,
    r.organisation_id = any(array(select private.my_administered_organisations())) as administered
from reconciliation_reports as r
inner join organisations as o on o.id = r.organisation_id
where (%(report_id)s::uuid is null or r.id = %(report_id)s)
    and (
        %(before)s::uuid is null
        or (r.started_at, r.id) < (
            select b.started_at, b.id
            from reconciliation_reports as b
            where b.id = %(before)s
        )
    )
order by r.started_at desc, r.id desc
limit %(limit)s
