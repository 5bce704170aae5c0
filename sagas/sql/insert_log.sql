-- insert_log: write one log row per reminder and recipient, queued for its group's push.
-- index: cert_expiry_reminders_pkey (id)
-- why: what the row says about the certificate is taken from the claim, so the two cannot differ.
insert into cert_notification_log (
    organisation_id, reminder_id, audience, recipient_id, recipient_step, channel, mentor_id,
    cert_id, certificate_type, threshold_days, threshold_tier, certification_expiry_date,
    notification_window_date, status, dispatch_group_id, run_id, created_at, updated_at
)
select
    r.organisation_id, r.id, r.audience, wanted.recipient_id, wanted.step, 'push', r.mentor_id,
    r.certification_id, r.certificate_type, r.threshold_day, r.threshold_tier,
    r.certification_expiry_date, r.notification_window_date, 'queued', wanted.group_id, r.run_id,
    %(now)s, %(now)s
from unnest(
    %(reminder_ids)s::uuid[], %(recipient_ids)s::uuid[], %(steps)s::integer[], %(group_ids)s::uuid[]
) as wanted (reminder_id, recipient_id, step, group_id)
inner join cert_expiry_reminders as r on r.id = wanted.reminder_id
