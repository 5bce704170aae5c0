-- concerned_by_delivery: whom a delivery concerns, and what a retry of it would do.
-- index: delivery_pk (id); dead_letter_pk (delivery_id)
-- why: rights follow the mentor its key names; without one they follow the organisation of the group its
--      payload names. What is being tried right now is left alone, and so is a saga's timer: brought
--      forward, it would decide what its saga meant for later.
select m.key, d.waiting, d.dead, g.organisation_id
from (
    select message_id, (lease_token is null or unknown_at is not null)::integer as waiting, 0 as dead
    from outbox.delivery
    where id = %(delivery_id)s
    union all
    select message_id, 0 as waiting, 1 as dead
    from outbox.dead_letter
    where delivery_id = %(delivery_id)s
) as d
inner join outbox.message as m on m.id = d.message_id
left join notification_groups as g on g.id::text = m.payload ->> 'group_id'
where m.topic <> 'outbox.timer'
