-- lease_ids: lease the given deliveries after a batch of them was rolled back.
-- index: delivery_pk (id); message_pk (id); lease_pk (token)
-- why: they are tried one by one next, each in a transaction of its own, which only a lease outlives. The
--      note of the batch becomes their lease, so that a crash in between leaves them to claim_lone.
with picked as materialized (
    select d.id
    from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[]) and d.lease_token is null and d.unknown_at is null
    order by d.id
    for update skip locked
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from picked
    where d.id = picked.id
    returning d.*
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update
        set until = excluded.until, first_id = null, last_id = null
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
