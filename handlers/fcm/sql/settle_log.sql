-- settle_log: write the outcome of a batch of pushes into the notification log, row by row.
-- index: notification_items_one_per_position (group_id, position);
--      cert_notification_log_once_per_recipient (reminder_id, recipient_id, channel)
-- why: the log is per reminder and recipient (DSP-2), the push per group; `date_sent` is the civil
--      day in the organisation's zone. Merged rows belong to the pause that took them over (PAU-12).
with ended as (
    select *
    from unnest(
        %(groups)s::uuid[], %(statuses)s::text[], %(errors)s::text[], %(tries)s::integer[],
        %(times)s::timestamptz[]
    ) as one (group_id, status, error_class, tries, at)
), told as (
    select
        item.reminder_id,
        target.recipient_id,
        organisation.timezone,
        ended.at,
        case when item.id = any (%(cancelled)s) then 'cancelled' else ended.status end as status,
        case when item.id = any (%(cancelled)s) then 0 else ended.tries end as tries,
        ended.error_class
    from ended
    inner join public.notification_groups as target on target.id = ended.group_id
    inner join public.organisations as organisation on organisation.id = target.organisation_id
    inner join public.notification_items as item on item.group_id = ended.group_id
    where item.reminder_id is not null
)
update public.cert_notification_log as entry
set status = told.status,
    attempts = entry.attempts + told.tries,
    run_attempts = entry.run_attempts + told.tries,
    error_class = case when told.status = 'cancelled' then null else told.error_class end,
    date_sent = case
        when told.status = 'delivered' then (told.at at time zone told.timezone)::date
        else entry.date_sent
    end,
    updated_at = told.at,
    settled_at = case when told.status = 'queued' then null else told.at end
from told
where entry.reminder_id = told.reminder_id
    and entry.recipient_id = told.recipient_id
    and entry.channel = 'push'
    and entry.status <> 'merged'
