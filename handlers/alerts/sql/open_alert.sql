-- open_alert: open an alert, or make the open one more severe.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: one open alert per type, organisation and subject, also between racing openers. An alert never
--      becomes less severe; when it becomes more so, that is its escalation, kept with its time.
insert into public.dashboard_alerts as alert (
    type, organisation_id, mentor_id, subject, text, severity, opened_at, due_at
)
values (
    %(type)s, %(organisation_id)s, %(mentor_id)s, %(subject)s, %(text)s, %(severity)s,
    %(now)s, %(now)s + %(due_after)s::interval
)
on conflict (type, organisation_id, subject) where resolved_at is null do update set
    severity = excluded.severity,
    escalated_at = excluded.opened_at
where array_position(array['info', 'warning', 'critical'], excluded.severity)
    > array_position(array['info', 'warning', 'critical'], alert.severity)
returning alert.escalated_at is not null as escalated
