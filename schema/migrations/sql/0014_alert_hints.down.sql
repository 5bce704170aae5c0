-- 0014_alert_hints, down: without hints, and without the alerts of the new type.
-- locks: access exclusive on dashboard_alerts while its rows are checked.
set local lock_timeout = '5s';

delete from public.dashboard_alerts where type = 'integration_unavailable';
alter table public.dashboard_alerts drop constraint dashboard_alerts_type_is_known;
alter table public.dashboard_alerts add constraint dashboard_alerts_type_is_known check (type in (
    'dynamics_sync_pending', 'credential_failure', 'portal_ahead', 'endpoint_retired',
    'duplicate_dispatch', 'duplicate_log_entries', 'invalid_policy', 'payload_rejected',
    'data_quality'
));
alter table public.dashboard_alerts drop column hint;
