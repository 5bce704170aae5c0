-- insert_report: keep a reconciliation report.
-- index: reconciliation_reports_pkey (id)
-- why: a report is written once, whole.
insert into reconciliation_reports (
    id, organisation_id, run_id, dry_run, started_at, finished_at, complete, totals, repaired,
    duplicates, unknown_pushes, failed_pushes, open_alerts, credential_status
)
values (
    %(report_id)s, %(organisation_id)s, %(run_id)s, %(dry_run)s, %(started_at)s, %(finished_at)s,
    %(complete)s, %(totals)s, %(repaired)s, %(duplicates)s, %(unknown_pushes)s, %(failed_pushes)s,
    %(open_alerts)s, %(credential_status)s
)
