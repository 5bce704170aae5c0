-- supersede_overtaken: settle what a newer delivery of the same key has overtaken.
-- index: delivery_key_idx (handler, key, position, id)
-- why: runs in the transaction that took the lease of the key (lock_keys, or exchange_keys for tickets), after
--      find_newest has found nothing of it leased, so nothing here is in another's hands.
with newest as (
    select u.key, u.position, u.id
    from unnest(%(keys)s::text[], %(positions)s::bigint[], %(ids)s::bigint[]) as u(key, position, id)
), overtaken as (
    delete from outbox.delivery as d
    using newest as n
    where d.handler = %(handler)s
        and d.key = n.key
        and (d.position, d.id) < (n.position, n.id)
        and d.lease_token is null
    returning d.id, d.message_id, d.key, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select o.id, o.message_id, %(handler)s, o.attempts, 'superseded', 'overtaken', %(relay)s,
        coalesce(%(now)s::timestamptz, now())
    from overtaken as o
)
select o.id, o.message_id, o.attempts, m.topic, m.version, m.payload::text as payload, m.key as message_key,
    m.sequence, m.correlation_id, m.created_at
from overtaken as o
inner join outbox.message as m on m.id = o.message_id
order by o.id
