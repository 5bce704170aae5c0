-- free_tickets: take back tickets of one handler that expired in queues which no live worker reads.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); key_lease_pk (handler, key); worker_handler_idx (handler, queue)
-- why: the workers of an older version are gone, or all are: whoever comes next takes the deliveries anew. Those
--      that live workers read are sent again under the same token (resend_tickets). Nothing is counted.
with lost as materialized (
    select e.token, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and e.queue is not null
        and not exists (
            select from outbox.worker as w
            where w.handler = e.handler and w.queue = e.queue and w.seen_at > clock_timestamp() - interval '15 s'
        )
    order by e.until
    limit 200
    for update skip locked
), freed as (
    update outbox.delivery as d
    set lease_token = null, lease_until = null
    from lost as l
    cross join lateral unnest(l.deliveries) as u(id)
    where d.id = u.id and d.lease_token = l.token and d.begun_at is null and d.unknown_at is null
    returning d.id, d.key, l.token
), keys as (
    delete from outbox.key_lease as k
    using freed as f
    where k.handler = %(handler)s and k.key = f.key and k.token = f.token
), closed as (
    delete from outbox.lease as e where e.token = any(select l.token from lost as l)
)
select id from freed
