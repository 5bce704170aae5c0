-- claim_keyed: lease up to `limit` due deliveries of one ordered handler, the head of each key only.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        delivery_key_idx (handler, key, position, id); delivery_pk (id); message_pk (id);
--        delivery_one_lease_per_key (handler, key) where lease_token is not null and key is not null
-- why: any earlier row of the key blocks, leased, waiting or unknown; so does a later one that was leased
--      before an earlier one joined. What this snapshot cannot see yet, the unique index refuses. Only a
--      row whose first due date lies ahead has not joined its key. Range and limits as in claim.
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
        and not exists (
            select from outbox.delivery as e
            where e.handler = d.handler
                and e.key = d.key
                and (e.position, e.id) < (d.position, d.id)
                and (e.due_at is null or e.last_reason is not null or e.due_at <= coalesce(%(now)s::timestamptz, now()))
        )
        and not exists (
            select from outbox.delivery as f
            where f.handler = d.handler and f.key = d.key and f.lease_token is not null
        )
    order by d.due_at, d.id
    limit %(again_limit)s
    for update skip locked
), fresh as materialized (
    select d.id
    from outbox.delivery as d
    where (d.handler, d.id) > ((select handler from open), 0)
        and d.handler <= (select handler from open)
        and d.due_at is null
        and d.lease_token is null
        and d.unknown_at is null
        and not exists (
            select from outbox.delivery as e
            where e.handler = d.handler
                and e.key = d.key
                and (e.position, e.id) < (d.position, d.id)
                and (e.due_at is null or e.last_reason is not null or e.due_at <= coalesce(%(now)s::timestamptz, now()))
        )
        and not exists (
            select from outbox.delivery as f
            where f.handler = d.handler and f.key = d.key and f.lease_token is not null
        )
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
