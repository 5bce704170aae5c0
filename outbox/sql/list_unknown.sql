-- list_unknown: deliveries held because nobody knows whether their call happened, the oldest first.
-- index: delivery_unknown_idx (handler, unknown_at) where unknown_at is not null; message_pk (id);
--        question_pk (delivery_id)
-- why: ids and codes; no payload.
select d.id as delivery_id, d.message_id, d.handler, m.topic, d.unknown_at, d.last_reason as reason, d.attempts,
    d.resends, q.asked, q.due_at as asked_again_at, q.last_answer
from outbox.delivery as d
inner join outbox.message as m on m.id = d.message_id
left join outbox.question as q on q.delivery_id = d.id and q.call_token = d.lease_token
where d.unknown_at is not null and (%(handler)s::text is null or d.handler = %(handler)s)
order by d.unknown_at, d.id
limit %(limit)s
