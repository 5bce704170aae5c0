-- has_suspect: whether a delivery of this handler was taken and not settled, and may be tried now.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); delivery_key_idx (handler, key, position, id);
--        key_lease_pk (handler, key); dead_letter_handler_idx (handler, key, delivery_id); message_pk (id)
-- why: asked often and cheaply; only a yes makes the process stop everything else, so a paused or held
--      handler says no. The same conditions as claim_lone's. `probes`: where a breaker is open and its next
--      probe is due, nothing else may be it.
select 1
from outbox.lease as e
cross join lateral unnest(e.deliveries) as u(id)
inner join outbox.delivery as d on d.id = u.id
where e.handler = %(handler)s
    and e.until <= coalesce(%(now)s::timestamptz, now())
    and e.queue is null
    and (%(reads)s::text[] is null or (
        select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
    ))
    and d.lease_token = e.token
    and d.lease_until <= coalesce(%(now)s::timestamptz, now())
    and d.begun_at is null
    and d.unknown_at is null
    and not exists (
        select from outbox.key_lease as k
        where k.handler = d.handler and k.key = d.key and k.until > coalesce(%(now)s::timestamptz, now())
    )
    and not (%(headed)s and exists (
        select from outbox.delivery as f
        where f.handler = d.handler
            and f.key = d.key
            and (f.position, f.id) < (d.position, d.id)
            and (f.due_at is null or f.last_reason is not null or f.due_at <= coalesce(%(now)s::timestamptz, now()))
    ))
    and not (%(blocks)s and exists (
        select from outbox.dead_letter as l
        where l.handler = d.handler and l.key = d.key and (l.position, l.delivery_id) < (d.position, d.id)
    ))
    and exists (
        select from outbox.destination as o
        where o.handler = e.handler
            and o.paused_at is null
            and o.circuit_opened_at is null
            and (o.breaker_opened_at is null
                or %(probes)s and o.breaker_probe_at <= coalesce(%(now)s::timestamptz, now()))
            and (o.held_until is null or o.held_until <= coalesce(%(now)s::timestamptz, now()))
    )
limit 1
