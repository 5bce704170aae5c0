-- lock_newest: the newest delivery of up to `limit` keys of a newest-only handler that have something due.
-- index: delivery_key_idx (handler, key, position, id)
-- why: the oldest row of a key is locked as the key's mutex; a key with a lease out, even an expired one,
--      waits for it. What this snapshot cannot see yet, the unique index over leases refuses.
with open as (
    select handler
    from outbox.destination
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
), waiting as materialized (
    select distinct d.key
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and (d.due_at is null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
        and d.lease_token is null
        and d.unknown_at is null
        and d.key is not null
    limit 4 * %(limit)s
), heads as materialized (
    select d.id, d.key
    from waiting as w
    cross join lateral (
        select h.id
        from outbox.delivery as h
        where h.handler = %(handler)s and h.key = w.key
        order by h.position, h.id
        limit 1
    ) as oldest
    inner join outbox.delivery as d on d.id = oldest.id
    where not exists (
        select from outbox.delivery as e
        where e.handler = %(handler)s and e.key = w.key and e.lease_token is not null
    )
        and d.lease_token is null
    limit %(limit)s
    for update of d skip locked
)
select distinct on (h.key) n.id, n.key, n.position,
    n.due_at is null or n.due_at <= coalesce(%(now)s::timestamptz, now()) as due
from heads as h
inner join outbox.delivery as n on n.handler = %(handler)s and n.key = h.key
where n.due_at is null or n.last_reason is not null or n.due_at <= coalesce(%(now)s::timestamptz, now())
order by h.key, n.position desc, n.id desc
