-- lock_unknown: take deliveries held as unknown, to decide about them.
-- index: delivery_pk (id); message_pk (id)
-- why: the row lock keeps the attempt's own late answer, a question's and other people's waiting; whoever has it
--      settles by the token that was kept, as the attempt itself would have.
select d.handler, d.id, d.message_id, d.key, d.position, d.attempts, d.resends, d.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at, d.lease_token
from outbox.delivery as d
inner join outbox.message as m on m.id = d.message_id
where d.id = any(%(ids)s::bigint[]) and d.unknown_at is not null
order by d.id
for update of d
