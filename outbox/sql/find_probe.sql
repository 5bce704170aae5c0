-- find_probe: what a probe of a destination may try, fewest attempts first.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        lease_held_idx (handler collate "C", last_id) where first_id is not null; message_pk (id)
-- why: a probe that fails spends an attempt, so it is not always the same delivery's. A bounded look; whether
--      one can be leased is for the statement that leases it.
with held as materialized (
    select e.first_id, e.last_id, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s collate "C"
        and e.until > coalesce(%(now)s::timestamptz, now()) - interval '1 minute'
        and e.first_id is not null
), fresh as materialized (
    select d.id, d.key, d.attempts, d.due_at
    from outbox.delivery as d
    where (d.handler, d.id) > (%(handler)s::text, 0::bigint)
        and d.handler <= %(handler)s
        and d.due_at is null
        and d.lease_token is null
        and d.unknown_at is null
        and (%(reads)s::text[] is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
    order by d.handler, d.id
    limit %(limit)s
), again as materialized (
    select d.id, d.key, d.attempts, d.due_at
    from outbox.delivery as d
    where d.handler = %(handler)s
        and d.due_at <= coalesce(%(now)s::timestamptz, now())
        and d.lease_token is null
        and d.unknown_at is null
        and (%(reads)s::text[] is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
    order by d.due_at, d.id
    limit %(limit)s
)
select c.id, c.key
from (select * from fresh union all select * from again) as c
where not exists (
    select from held as h where c.id between h.first_id and h.last_id and c.id = any(h.deliveries)
)
order by c.attempts, c.due_at nulls first, c.id
