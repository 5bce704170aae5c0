-- insert_told: write what each group says of its reminders, and one log row per reminder and recipient.
-- index: cert_expiry_reminders_pkey (id)
-- why: what item and log say about the certificate is taken from the claim, so the three cannot
--      differ, and it travels once. One item per mentor and certificate in every grouping mode,
--      most urgent first; the log is queued for the group's push.
with told as (
    select
        wanted.group_id, wanted.position, wanted.kind, wanted.recipient_id, wanted.step, r.*
    from unnest(
        %(group_ids)s::uuid[], %(positions)s::integer[], %(kinds)s::text[],
        %(reminder_ids)s::uuid[], %(recipient_ids)s::uuid[], %(steps)s::integer[]
    ) as wanted (group_id, position, kind, reminder_id, recipient_id, step)
    inner join cert_expiry_reminders as r on r.id = wanted.reminder_id
),
items as (
    insert into notification_items (
        group_id, position, mentor_id, kind, tier, certificate_type, certification_id,
        certification_expiry_date, reminder_id
    )
    select
        group_id, position, mentor_id, kind, threshold_tier, certificate_type, certification_id,
        certification_expiry_date, id
    from told
)
insert into cert_notification_log (
    organisation_id, reminder_id, audience, recipient_id, recipient_step, channel, mentor_id,
    cert_id, certificate_type, threshold_days, threshold_tier, certification_expiry_date,
    notification_window_date, status, dispatch_group_id, run_id, created_at, updated_at
)
select
    organisation_id, id, audience, recipient_id, step, 'push', mentor_id, certification_id,
    certificate_type, threshold_day, threshold_tier, certification_expiry_date,
    notification_window_date, 'queued', group_id, run_id, %(now)s, %(now)s
from told
