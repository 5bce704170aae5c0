-- audit_front: of every handler, what is due longest and in nobody's hands, and what has been unknown longest.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        message_pk (id); lease_expiry_idx (handler, until); delivery_pk (id)
-- why: the proof that nothing due is old must stay cheap where a million wait: it takes the front of two indexes,
--      where ids stand for age, and passes only what is leased or unknown. What is under a lease that ran out
--      `grace` ago was forgotten. What is under a ticket is in nobody's hands, however often it is sent again: few
--      rows, since tickets out are bounded. What is unknown for long lies at the front too, for everything else moves on;
--      the look for it is `window` rows. A handler is a range, so that only its own index gives the order.
with known as (
    select handler from outbox.destination union select handler from outbox.route
)
select k.handler, o.application, f.id as front_id, f.since as front_since, f.keyed as front_keyed, u.id as unknown_id, u.since as unknown_since,
    o.paused_at is not null as paused, o.circuit_opened_at is not null as circuit_open,
    o.breaker_opened_at is not null as breaker_open,
    exists (
        select from outbox.relay as r
        where k.handler = any(r.throttled) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as throttled,
    coalesce(o.held_until > coalesce(%(now)s::timestamptz, now()), false) as held,
    coalesce(%(now)s::timestamptz, now()) as now,
    exists (
        select from outbox.relay as r
        where k.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as relay_alive
from known as k
left join outbox.destination as o on o.handler = k.handler
left join lateral (
    select a.id, a.since, a.keyed from (
        (
            select d.id, d.key is not null as keyed, m.created_at as since
            from outbox.delivery as d
            inner join outbox.message as m on m.id = d.message_id
            where (d.handler, d.id) > (k.handler, 0::bigint) and d.handler <= k.handler
                and d.due_at is null and d.unknown_at is null and d.lease_token is null
            order by d.handler, d.id
            limit 1
        )
        union all
        (
            select d.id, d.key is not null as keyed, d.due_at as since
            from outbox.delivery as d
            where d.handler = k.handler and d.due_at <= coalesce(%(now)s::timestamptz, now())
                and d.unknown_at is null and d.lease_token is null
            order by d.due_at, d.id
            limit 1
        )
        union all
        (
            select d.id, d.key is not null as keyed, e.until as since
            from outbox.lease as e
            cross join lateral unnest(e.deliveries) as u(id)
            inner join outbox.delivery as d on d.id = u.id
            where e.handler = k.handler and e.until <= coalesce(%(now)s::timestamptz, now()) - %(grace)s::interval
                and d.lease_token = e.token and d.unknown_at is null
                and d.lease_until <= coalesce(%(now)s::timestamptz, now()) - %(grace)s::interval
            order by e.until, d.id
            limit 1
        )
        union all
        (
            select d.id, false as keyed, coalesce(d.due_at, m.created_at) as since
            from outbox.lease as e
            cross join lateral unnest(e.deliveries) as u(id)
            inner join outbox.delivery as d on d.id = u.id
            inner join outbox.message as m on m.id = d.message_id
            where e.handler = k.handler and e.queue is not null and d.lease_token = e.token and d.unknown_at is null
            order by coalesce(d.due_at, m.created_at), d.id
            limit 1
        )
    ) as a
    order by a.since
    limit 1
) as f on true
left join lateral (
    select a.id, a.unknown_at as since from (
        (
            select d.id, d.unknown_at from outbox.delivery as d
            where (d.handler, d.id) > (k.handler, 0::bigint) and d.handler <= k.handler and d.due_at is null
            order by d.handler, d.id
            limit %(window)s
        )
        union all
        (
            select d.id, d.unknown_at from outbox.delivery as d
            where d.handler = k.handler and d.due_at <= coalesce(%(now)s::timestamptz, now())
            order by d.due_at, d.id
            limit %(window)s
        )
    ) as a
    where a.unknown_at is not null
    order by a.unknown_at
    limit 1
) as u on true
order by k.handler
