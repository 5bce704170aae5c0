-- settle_inbox: let the inbox rows of a batch of groups say what became of their push.
-- index: notification_items_one_per_position (group_id, position); notifications_pkey (id)
-- why: all items of a digest share its outcome (GRP-3) but for those that were no longer true when
--      it left: these were never told.
with ended as (
    select *
    from unnest(%(groups)s::uuid[], %(statuses)s::text[]) as one (group_id, status)
)
update public.notifications as inbox
set status = case
    when item.id = any (%(cancelled)s) then 'cancelled'
    when ended.status = 'queued' then 'pending'
    else ended.status
end
from ended
inner join public.notification_items as item on item.group_id = ended.group_id
where inbox.id = item.notification_id
