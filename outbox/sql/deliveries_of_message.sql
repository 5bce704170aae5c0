-- deliveries_of_message: every delivery a message has or had, and whether it is parked without a route.
-- index: message_pk (id); delivery_message_idx (message_id); receipt_message_idx (message_id, id); unrouted_pk (message_id)
-- why: people who ask know the message's id more often than its deliveries'.
select m.id as message_id, m.topic, m.created_at, u.parked_at,
    array(
        select d.id from outbox.delivery as d where d.message_id = m.id
        union
        select r.delivery_id from outbox.receipt as r where r.message_id = m.id
        order by 1
    ) as delivery_ids
from outbox.message as m
left join outbox.unrouted as u on u.message_id = m.id
where m.id = %(message_id)s
