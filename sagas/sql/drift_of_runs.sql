-- drift_of_runs: what the newest reports of an organisation counted, the oldest of them first.
-- index: reconciliation_reports_latest_idx (organisation_id, started_at desc)
-- why: a chart shows whether drift goes away; dry runs repair nothing and are left out of it.
select newest.started_at, newest.totals
from (
    select r.started_at, r.totals, r.id
    from reconciliation_reports as r
    where r.organisation_id = %(organisation_id)s and not r.dry_run
    order by r.started_at desc, r.id
    limit %(limit)s
) as newest
order by newest.started_at, newest.id
