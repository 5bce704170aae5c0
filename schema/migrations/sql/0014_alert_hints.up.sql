-- 0014_alert_hints: an alert says what to mend first, and one tells that nobody answers.
-- locks: access exclusive on dashboard_alerts for two catalogue changes; no row is read.
-- yesterday's code: runs; it writes no hint and opens no alert of the new type.
-- why: a hint is a line of ours (a code, how far clocks differ), never a foreign text. The constraint
--      only grows, so rows written before fit it and are not read again.
set local lock_timeout = '5s';

alter table public.dashboard_alerts add column hint text;
-- a wider one takes its place in the next statement
-- squawk-ignore ban-drop-constraint
alter table public.dashboard_alerts drop constraint dashboard_alerts_type_is_known;
alter table public.dashboard_alerts add constraint dashboard_alerts_type_is_known check (type in (
    'dynamics_sync_pending', 'credential_failure', 'portal_ahead', 'endpoint_retired',
    'duplicate_dispatch', 'duplicate_log_entries', 'invalid_policy', 'payload_rejected',
    'data_quality', 'integration_unavailable'
)) not valid;
