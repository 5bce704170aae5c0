-- find_lease: one leased delivery as its holder sees it.
-- index: delivery_pk (id); message_pk (id)
-- why: a test asks who holds a delivery now; the engine itself never needs to.
select d.id, d.message_id, d.key, d.position, d.attempts, d.resends, d.lease_token, d.lease_until, d.handler,
    d.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from outbox.delivery as d
inner join outbox.message as m on m.id = d.message_id
where d.id = %(delivery_id)s and d.lease_token is not null
