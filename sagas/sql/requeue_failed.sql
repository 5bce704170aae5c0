-- requeue_failed: queue failed pushes of reminders still in their tier again, on the same rows.
-- index: cert_notification_log_once_per_recipient (reminder_id, recipient_id, channel)
-- why: log, group and inbox follow one push and change together. The row's own status decides, so
--      of two runs only one gets it back (DED-10).
with again as (
    update cert_notification_log
    set status = 'queued', run_attempts = 0, error_class = null, settled_at = null,
        updated_at = %(now)s
    where reminder_id = any(%(reminder_ids)s::uuid[])
        and channel = 'push'
        and status = 'failed'
        and attempts < %(attempts_max)s
        and dispatch_group_id is not null
        and coalesce(error_class, '') not like all (%(permanent)s::text[])
    returning reminder_id, dispatch_group_id
),
groups as (
    update notification_groups
    set status = 'queued', error_class = null, settled_at = null
    where id in (select dispatch_group_id from again)
),
inbox as (
    update notifications
    set status = 'pending'
    where group_id in (select dispatch_group_id from again) and status = 'failed'
)
select reminder_id, dispatch_group_id as group_id
from again
