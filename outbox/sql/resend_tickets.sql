-- resend_tickets: tickets of one handler that waited for a whole lease, to be sent once more as they are.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); key_lease_pk (handler, key); worker_handler_idx (handler, queue)
-- why: the broker may have lost them. The token stays the same, so that a copy that is only waiting in a long
--      queue is still good when its turn comes: a queue slower than a lease delays and never turns in a circle.
with lost as materialized (
    select e.token, e.deliveries, e.queue
    from outbox.lease as e
    where e.handler = %(handler)s
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and e.queue is not null
        and exists (
            select from outbox.worker as w
            where w.handler = e.handler and w.queue = e.queue and w.seen_at > clock_timestamp() - interval '15 s'
        )
    order by e.until
    limit 200
    for update skip locked
), held as materialized (
    select d.id, d.key, l.token
    from lost as l
    cross join lateral unnest(l.deliveries) as u(id)
    inner join outbox.delivery as d on d.id = u.id
    where d.lease_token = l.token
    order by d.id
    for update of d skip locked
), longer as (
    update outbox.delivery as d
    set lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from held as h
    where d.id = h.id
), keys as (
    update outbox.key_lease as k
    set until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from held as h
    where k.handler = %(handler)s and k.key = h.key and k.token = h.token
)
update outbox.lease as e
set until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
from lost as l
where e.token = l.token and e.token = any(select h.token from held as h)
returning e.token, e.queue, e.deliveries
