-- claim_held: lock up to `limit` due deliveries of one unordered handler, to be settled in this transaction.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        message_pk (id); lease_held_idx (handler collate "C", last_id) where first_id is not null
-- why: where the effect is in this database, the transaction itself is the lease: its row locks keep everybody
--      else away, and a crash leaves nothing behind, neither effect nor claim. It costs no write. What was
--      taken is noted by note_batch before any of it is tried, so that a message that kills its worker is
--      still found out. Conditions, `terms` and limits as in claim.
with terms as materialized (
    select %(limit)s::bigint as most, %(again_limit)s::bigint as most_again,
        %(reads)s::text[] as reads, coalesce(%(now)s::timestamptz, now()) as now
), open as (
    select handler
    from outbox.destination
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (breaker_opened_at is null or breaker_probe_token = %(token)s)
        and (held_until is null or held_until <= (select t.now from terms as t))
), held as materialized (
    select e.first_id, e.last_id, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s collate "C"
        and e.first_id is not null
        and e.last_id > %(after)s::bigint
        and e.until + interval '1 minute' > coalesce(%(now)s::timestamptz, now())
), held_before as materialized (
    select e.first_id, e.last_id, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s collate "C"
        and e.first_id is not null
        and e.last_id <= %(after)s::bigint
        and e.until + interval '1 minute' > coalesce(%(now)s::timestamptz, now())
), again as materialized (
    select d.id, d.message_id, d.key, d.position, d.attempts, d.resends, d.due_at
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at <= (select t.now from terms as t)
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
        and not exists (
            select from held_before as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.due_at, d.id
    limit 1000
    for update skip locked
), fresh as materialized (
    select d.id, d.message_id, d.key, d.position, d.attempts, d.resends, d.due_at
    from outbox.delivery as d
    where (d.handler, d.id) > ((select handler from open), %(after)s::bigint)
        and d.handler <= (select handler from open)
        and d.due_at is null
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.handler, d.id
    limit 1000
    for update skip locked
), locked as (
    (select * from again limit (select t.most_again from terms as t))
    union all
    select * from fresh
    limit (select t.most from terms as t)
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends,
    coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval as lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from locked as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
