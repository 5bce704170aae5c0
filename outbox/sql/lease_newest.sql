-- lease_newest: lease the newest deliveries of keys that are ours; the other keys are given back.
-- index: delivery_pk (id); message_pk (id); key_lease_pk (handler, key)
-- why: they were chosen by find_newest in this transaction, after the lease of their keys. What was taken is
--      remembered by key (outbox.newest), so that nothing older is tried after it, wherever it comes from.
with leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    where d.id = any(%(ids)s::bigint[]) and d.lease_token is null
    returning d.*
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update set deliveries = held.deliveries || excluded.deliveries
), remembered as (
    insert into outbox.newest as n (handler, key, position, delivery_id, message_id)
    select l.handler, l.key, l.position, l.id, l.message_id from leased as l where l.key is not null order by l.key
    on conflict on constraint newest_pk do update
        set position = excluded.position, delivery_id = excluded.delivery_id, message_id = excluded.message_id
        where (n.position, n.delivery_id) < (excluded.position, excluded.delivery_id)
), unused as (
    delete from outbox.key_lease as k
    using (
        select u.key from unnest(%(keys)s::text[]) as u(key) where not u.key = any(select l.key from leased as l)
    ) as idle
    where k.handler = %(handler)s and k.key = idle.key and k.token = %(token)s
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
