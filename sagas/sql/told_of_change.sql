-- told_of_change: who was told of a mentor's last change to a status, and how each push ended.
-- index: mentor_status_history_mentor_idx (mentor_id, at); notification_items_mentor_idx (mentor_id)
-- why: counted in recipients and never in devices. A change that nobody could be told of is one row
--      without a recipient, so that it differs from a change that never was. An item that fell away
--      from a digest was not told, whatever became of the digest.
with last_change as (
    select h.mentor_id, h.at, h.run_id
    from mentor_status_history as h
    where h.mentor_id = %(mentor_id)s and h.to_status = %(to_status)s
    order by h.at desc, h.id desc
    limit 1
),
told as (
    select distinct on (g.recipient_id)
        g.recipient_id,
        case when n.status = 'cancelled' then n.status else g.status end as status,
        g.error_class,
        g.attempts
    from last_change
    inner join notification_items as i on i.mentor_id = last_change.mentor_id
    inner join notification_groups as g on g.id = i.group_id
    left join notifications as n on n.id = i.notification_id
    where i.kind = %(event)s
        and g.created_at >= last_change.at
    order by g.recipient_id, g.created_at
)
select told.recipient_id, told.status, told.error_class, told.attempts
from last_change
left join told on true
order by told.recipient_id
