-- group_items: the recipients and items of some groups, in the order they are told.
-- index: notification_groups_pkey (id); notification_items_one_per_position (group_id, position)
-- why: one statement for a whole batch; read when the rows are written, so that a group withdrawn
--      meanwhile is seen.
select
    notified.id as group_id,
    notified.organisation_id,
    notified.recipient_id,
    notified.status,
    organisation.language,
    item.position,
    item.mentor_id,
    item.kind,
    item.tier,
    item.certificate_type,
    item.reason,
    item.prompt_id
from public.notification_groups as notified
inner join public.organisations as organisation on organisation.id = notified.organisation_id
inner join public.notification_items as item on item.group_id = notified.id
where notified.id = any (%(group_ids)s::uuid[])
order by notified.id, item.position
