-- bury_poisoned: dead-letter what was claimed alone too often and never settled.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); message_pk (id)
-- why: only lone claims count, so a message next to a killer is never buried for it.
with poisoned as (
    delete from outbox.delivery as d
    using outbox.lease as e
    cross join lateral unnest(e.deliveries) as u(id)
    where e.handler = %(handler)s
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and e.queue is null
        and d.id = u.id
        and d.lease_token = e.token
        and (%(ids)s::bigint[] is null or d.id = any(%(ids)s::bigint[]))
        and d.lease_until <= coalesce(%(now)s::timestamptz, now())
        and d.begun_at is null
        and d.unknown_at is null
        and d.lone_claims >= %(lone_claims_max)s
    returning d.*
), letters as (
    insert into outbox.dead_letter (delivery_id, message_id, handler, key, position, attempts, reason, died_at)
    select p.id, p.message_id, p.handler, p.key, p.position, p.attempts, 'poison',
        coalesce(%(now)s::timestamptz, now())
    from poisoned as p
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select p.id, p.message_id, p.handler, p.attempts, 'dead', 'poison', %(relay)s, coalesce(%(now)s::timestamptz, now())
    from poisoned as p
)
select p.id, p.message_id, p.key, p.position, p.attempts, p.resends, p.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from poisoned as p
inner join outbox.message as m on m.id = p.message_id
order by p.id
