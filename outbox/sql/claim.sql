-- claim: lease up to `limit` due deliveries of one unordered handler to one relay.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        delivery_pk (id); message_pk (id)
-- why: rows due since their publication go in id order above the relay's low-water mark `after`, so that
--      a claim does not walk over the dead rows at the head of the index; retries go by their due date,
--      at most half of a claim, so that neither starves the other. What was taken and not settled is
--      left to claim_lone: one message that kills its worker must not take its neighbours along.
--      `keyless`: only what has no key, for a newest-only handler, where such a message stands for itself.
--      The handler is a range and not an equality, so that only its own index gives the order: else the
--      primary key is walked over the backlog of every other handler. Limits are plain parameters: an
--      expression is taken for a tenth of the table, and whole primary keys are merged.
with open as (
    select handler
    from outbox.destination
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
), again as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at <= coalesce(%(now)s::timestamptz, now())
        and d.lease_token is null
        and d.unknown_at is null
        and (d.key is null or not %(keyless)s)
    order by d.due_at, d.id
    limit %(again_limit)s
    for update skip locked
), fresh as materialized (
    select d.id
    from outbox.delivery as d
    where (d.handler, d.id) > ((select handler from open), %(after)s::bigint)
        and d.handler <= (select handler from open)
        and d.due_at is null
        and d.lease_token is null
        and d.unknown_at is null
        and (d.key is null or not %(keyless)s)
    order by d.handler, d.id
    limit %(limit)s
    for update skip locked
), picked as (
    select id from again
    union all
    select id from fresh
    limit %(limit)s
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s,
        lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval,
        leased_by = %(relay)s
    from picked
    where d.id = picked.id
    returning d.*
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_token, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
