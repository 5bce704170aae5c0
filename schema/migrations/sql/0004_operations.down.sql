-- 0004_operations: remove what the way up created.
-- locks: access exclusive on these tables; the rows are gone afterwards, the audit log too.
set local lock_timeout = '5s';

drop table public.audit_log;
drop function private.audit_log_is_append_only();
drop table public.credential_checks;
drop table public.reconciliation_items;
drop table public.reconciliation_reports;
drop table public.data_quality_findings;
drop table public.dashboard_alerts;
drop table public.job_locks;
drop table public.job_runs;
