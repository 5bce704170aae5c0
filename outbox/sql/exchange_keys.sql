-- exchange_keys: take over the keys of tickets with a lease of one's own, their deliveries free to be chosen anew.
-- index: delivery_pk (id); key_lease_pk (handler, key); lease_pk (token)
-- why: of a newest-only handler. While they waited something newer may have been published, and then that
--      is what must be tried: find_newest and lease_newest follow in this transaction, as in a claim. What has no
--      key stays under the tickets, for exchange_tickets.
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
        and d.key is not null
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
    order by f.key
    on conflict on constraint key_lease_pk do update
        set token = excluded.token, until = excluded.until
        where k.token = any(%(tickets)s::uuid[]) or k.until <= coalesce(%(now)s::timestamptz, now())
    returning k.key
), freed as (
    update outbox.delivery as d
    set lease_token = null, lease_until = null
    from found as f
    where d.id = f.id
), closed as (
    delete from outbox.lease as e where e.token = any(select f.ticket from found as f)
)
select m.key from mine as m
