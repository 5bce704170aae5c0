-- Organisations and their people, for plans; triggers and foreign keys are off. No table has more than
-- the 30,000 rows of which statistics take every one, so that plans are the same each time.
create function pg_temp.id(n bigint) returns uuid language sql immutable as
    $$ select lpad(to_hex(n), 32, '0')::uuid $$;

insert into organisations (id, code, name, visibility_channel)
select pg_temp.id(n), 'O' || n, 'o', 'webhook' from generate_series(1, 300) as n;
insert into chapters (id, organisation_id, name)
select pg_temp.id(n), pg_temp.id(n % 300 + 1), 'c' from generate_series(1, 3000) as n;
insert into peer_mentors (id, organisation_id, status, visibility_version)
select pg_temp.id(n), pg_temp.id(n % 300 + 1),
    case when n % 9 = 0 then 'paused' else 'active' end, n
from generate_series(1, 20000) as n;
insert into chapter_memberships (mentor_id, chapter_id)
select pg_temp.id(n), pg_temp.id(n % 3000 + 1) from generate_series(1, 20000) as n;
insert into user_roles (id, user_id, organisation_id, chapter_id, role)
select pg_temp.id(n), pg_temp.id(n), pg_temp.id(n % 300 + 1), pg_temp.id(n % 3000 + 1),
    'coordinator'
from generate_series(1, 6000) as n;
insert into assignments (mentor_id, coordinator_id)
select pg_temp.id(n), pg_temp.id(n % 500) from generate_series(1, 20000) as n;
insert into certifications (id, mentor_id, certificate_type, expiry_date)
select pg_temp.id(n), pg_temp.id(n % 20000 + 1), 'type' || n % 3, current_date + (n % 700)::integer
from generate_series(1, 30000) as n;
insert into device_tokens (id, user_id, address)
select pg_temp.id(n), pg_temp.id(n % 20000 + 1), 'address:' || n from generate_series(1, 30000) as n;
insert into activities (id, mentor_id, kind, occurred_at)
select pg_temp.id(n), pg_temp.id(n % 20000 + 1), 'contact', now() - make_interval(hours => n)
from generate_series(1, 30000) as n;
insert into portal_sync_state (mentor_id) select id from peer_mentors;
insert into mentor_status_history (
    mentor_id, organisation_id, from_status, to_status, source, certification_id,
    certification_expiry_date, visibility_version, at
)
select id, organisation_id, 'active', 'paused',
    case when visibility_version % 5 = 0 then 'certificate_expired' else 'manual' end,
    id, current_date, 1, now()
from peer_mentors;
insert into notification_policies (organisation_id, audience, thresholds)
select o.id, audience, '{30}'
from organisations as o cross join unnest(array['mentor', 'coordinator']) as audience;
insert into feature_flags (organisation_id, flag)
select o.id, flag from organisations as o cross join unnest(array['x', 'y', 'per_org']) as flag;
insert into cert_expiry_reminders (
    id, organisation_id, audience, mentor_id, certification_id, certificate_type, threshold_day,
    threshold_tier, certification_expiry_date, notification_window_start, notification_window_date,
    run_id
)
select pg_temp.id(n), pg_temp.id(n % 300 + 1), 'mentor', pg_temp.id(n % 20000 + 1), pg_temp.id(n),
    'type' || n % 3, 30, '30', current_date, current_date, current_date, pg_temp.id(n % 500)
from generate_series(1, 30000) as n;
insert into notification_groups (id, organisation_id, recipient_id, kind, run_id, dedup_key, status)
select pg_temp.id(n), pg_temp.id(n % 300 + 1), pg_temp.id(n % 20000 + 1), 'cert_expiry_reminder',
    pg_temp.id(n % 500), 'key:' || n, case when n % 50 = 0 then 'failed' else 'delivered' end
from generate_series(1, 30000) as n;
insert into notification_items (
    id, group_id, position, mentor_id, kind, reminder_id, notification_id, prompt_id
)
select id, id, 0, recipient_id, kind, id, id, id from notification_groups;
insert into cert_notification_log (
    id, organisation_id, reminder_id, audience, recipient_id, mentor_id, cert_id, certificate_type,
    threshold_days, threshold_tier, certification_expiry_date, notification_window_date, status,
    dispatch_group_id
)
select g.id, g.organisation_id, g.id, 'mentor', g.recipient_id, g.recipient_id, g.id, 'type', 30,
    '30', current_date, current_date, g.status, g.id
from notification_groups as g;
insert into notifications (
    id, organisation_id, recipient_id, kind, title, body, group_id, idempotency_key
)
select id, organisation_id, recipient_id, kind, 't', 'b', id, 'key:' || id from notification_groups;
insert into job_runs (id, job_name, started_at, status)
select pg_temp.id(n), 'job' || n % 6, now() - make_interval(mins => n), 'done'
from generate_series(1, 20000) as n;
insert into job_locks select 'job' || n, pg_temp.id(n), now(), now() from generate_series(1, 300) as n;
insert into credential_checks (integration, checked_at, outcome)
select 'portal' || n % 3, now() - make_interval(mins => n), 'accepted'
from generate_series(1, 20000) as n;
insert into dashboard_alerts (
    id, type, organisation_id, mentor_id, subject, text, opened_at, resolved_at
)
select pg_temp.id(n), 'dynamics_sync_pending', pg_temp.id(n % 300 + 1), pg_temp.id(n),
    'mentor:' || n, 't', now() - make_interval(mins => n), case when n % 20 > 0 then now() end
from generate_series(1, 20000) as n;
insert into data_quality_findings (
    id, kind, organisation_id, mentor_id, subject, found_at, resolved_at
)
select pg_temp.id(n), 'missing_coordinator', pg_temp.id(n % 300 + 1), pg_temp.id(n), 's' || n,
    now() - make_interval(mins => n), case when n % 5 > 0 then now() end
from generate_series(1, 20000) as n;
insert into reconciliation_reports (id, organisation_id, started_at)
select pg_temp.id(n), pg_temp.id(n % 300 + 1), now() - make_interval(mins => n)
from generate_series(1, 3000) as n;
insert into reconciliation_items (report_id, mentor_id, verdict)
select pg_temp.id(n % 3000 + 1), pg_temp.id(n), 'behind' from generate_series(1, 20000) as n;
insert into audit_log (at, actor_id, actor_role, action, organisation_id, mentor_id)
select now() - make_interval(mins => n), pg_temp.id(n % 500), 'x', 'x', pg_temp.id(n % 300 + 1),
    pg_temp.id(n)
from generate_series(1, 20000) as n;
insert into followup_scenarios (id, code, name, rule)
select pg_temp.id(n), 'code' || n, 'n', '{}' from generate_series(1, 500) as n;
insert into scenario_settings (organisation_id, scenario_id, enabled, enabled_at)
select o.id, pg_temp.id(n), true, now()
from organisations as o cross join generate_series(1, 20) as n;
insert into prompt_history (
    id, organisation_id, user_id, scenario_id, activity_ref, mentor_id, due_on, group_id, status
)
select pg_temp.id(n), pg_temp.id(n % 300 + 1), pg_temp.id(n), pg_temp.id(n % 500 + 1), 'ref' || n,
    pg_temp.id(n), current_date, pg_temp.id(n),
    case when n % 20 = 0 then 'failed' else 'dispatched' end
from generate_series(1, 20000) as n;
insert into widened_reads
select pg_temp.id(n), pg_temp.id(n % 50), date_trunc('hour', now(), 'UTC'), now(),
    pg_temp.id(n % 300 + 1), 'x', 'x'
from generate_series(1, 5000) as n;
insert into outbox.message (topic, version, payload, key)
select 'visibility.changed', 1, '{}', 'mentor:' || pg_temp.id(n) from generate_series(1, 10000) as n;
insert into outbox.delivery (message_id, handler, key, position)
select id, case when id % 20 = 0 then 'portal' else 'fcm' end, key, id from outbox.message;
update outbox.delivery set lease_token = gen_random_uuid(), lease_until = now(), begun_at = now(),
    unknown_at = now()
where id % 50 = 1;
insert into outbox.dead_letter (
    delivery_id, message_id, handler, key, position, attempts, reason, died_at
)
select id, id, 'handler:' || id % 50, key, id, 1, 'refused', now() from outbox.message
where id <= 3000;
insert into outbox.saga (name, key, state, state_version, version, started_at, changed_at, ended_at)
select 'visibility', 'mentor:' || pg_temp.id(n), '{}', 1, 1, now(), now(),
    case when n % 2 = 0 then now() end
from generate_series(1, 6000) as n;
