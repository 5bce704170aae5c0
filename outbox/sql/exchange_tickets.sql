-- exchange_tickets: take over what is under tickets with one lease of one's own; nothing of those that are gone.
-- index: delivery_pk (id); key_lease_pk (handler, key); lease_pk (token); message_pk (id)
-- why: the first statement of a worker. A ticket may come twice, late or after it was taken back: only who finds
--      its token on the delivery has work to do. It does not ask how long the ticket waited. A destination that
--      closed meanwhile gives nothing. Keys go along, unless somebody else holds them by now. Deliveries and keys
--      are locked in one order, so that two workers with copies of the same tickets never wait in a ring.
with open as (
    select handler
    from outbox.destination
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and breaker_opened_at is null
        and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
), found as materialized (
    select d.id, d.key, d.lease_token as ticket
    from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[])
        and d.handler = (select handler from open)
        and d.lease_token = any(%(tickets)s::uuid[])
        and d.begun_at is null
        and d.unknown_at is null
    order by d.id
    for update
), mine as (
    insert into outbox.key_lease as k (handler, key, token, until)
    select distinct on (f.key) %(handler)s, f.key, %(token)s::uuid,
        coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from found as f
    where f.key is not null
    order by f.key
    on conflict on constraint key_lease_pk do update
        set token = excluded.token, until = excluded.until
        where k.token = any(%(tickets)s::uuid[]) or k.until <= coalesce(%(now)s::timestamptz, now())
    returning k.key
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from found as f
    where d.id = f.id and (f.key is null or f.key = any(select m.key from mine as m))
    returning d.*
), closed as (
    delete from outbox.lease as e where e.token = any(select f.ticket from found as f)
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update set deliveries = held.deliveries || excluded.deliveries
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.key, l.position, l.id
