-- settle_pushes: write the outcomes of a batch of pushes to groups, inbox, log and prompt history.
-- index: notification_groups_pkey (id);
--      notification_items_one_per_position (group_id, position); notifications_pkey (id);
--      cert_notification_log_once_per_recipient (reminder_id, recipient_id, channel);
--      prompt_history_pkey (id)
-- why: part of the engine's own settlement, so none of the four ever disagrees with the delivery;
--      one statement, for it stands in every settlement and a settlement holds up the next send.
--      Attempts add up over runs; what waits again has not settled. All items of a digest share its
--      outcome (GRP-3, NTF-2) but for those that were no longer true when it left: these were never told.
--      The log is per reminder and recipient (DSP-2); `date_sent` is the civil day in the
--      organisation's zone; merged rows belong to the pause that took them over (PAU-12). The prompt
--      history knows three words (SCN-2): what waits stays claimed, what reached nobody has failed.
with ended as (
    select *
    from unnest(
        %(groups)s::uuid[], %(statuses)s::text[], %(errors)s::text[], %(tries)s::integer[],
        %(resent)s::boolean[], %(times)s::timestamptz[]
    ) as one (group_id, status, error_class, tries, resent, at)
),
items as (
    select
        item.id, item.reminder_id, item.notification_id, item.prompt_id, ended.group_id,
        ended.status, ended.error_class, ended.tries, ended.at,
        item.id = any (%(cancelled)s::uuid[]) as cancelled
    from ended
    inner join public.notification_items as item on item.group_id = ended.group_id
),
groups as (
    update public.notification_groups as told
    set status = ended.status,
        attempts = told.attempts + ended.tries,
        error_class = ended.error_class,
        resent = told.resent or ended.resent,
        settled_at = case when ended.status = 'queued' then null else ended.at end
    from ended
    where told.id = ended.group_id
    returning told.id, told.recipient_id, told.kind, told.attempts, told.organisation_id
),
inbox as (
    update public.notifications as row_of
    set status = case
        when items.cancelled then 'cancelled'
        when items.status = 'queued' then 'pending'
        else items.status
    end
    from items
    where row_of.id = items.notification_id
),
entries as (
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
    from (
        select
            items.reminder_id, groups.recipient_id, organisation.timezone, items.error_class,
            items.at,
            case when items.cancelled then 'cancelled' else items.status end as status,
            case when items.cancelled then 0 else items.tries end as tries
        from items
        inner join groups on groups.id = items.group_id
        inner join public.organisations as organisation
            on organisation.id = groups.organisation_id
    ) as told
    where entry.reminder_id = told.reminder_id
        and entry.recipient_id = told.recipient_id
        and entry.channel = 'push'
        and entry.status <> 'merged'
),
prompts as (
    update public.prompt_history as prompt
    set status = case items.status
            when 'queued' then 'claimed' when 'delivered' then 'dispatched' else 'failed'
        end,
        attempts = prompt.attempts + items.tries,
        error_class = case
            when items.status = 'delivered' then null
            else coalesce(items.error_class, nullif(items.status, 'queued'))
        end,
        settled_at = case when items.status = 'queued' then null else items.at end
    from items
    where prompt.id = items.prompt_id
)
select groups.id, groups.recipient_id, groups.kind, groups.attempts
from groups
