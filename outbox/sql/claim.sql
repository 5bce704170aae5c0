-- claim: lease up to `limit` due deliveries of one unordered handler to one relay.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        delivery_pk (id); message_pk (id); lease_held_idx (handler collate "C", last_id) where first_id is not null
-- why: rows due since their publication go in id order above the relay's low-water mark `after`, so that
--      a claim does not walk over the dead rows at the head of the index; retries go by their due date,
--      at most half of a claim, so that neither starves the other. What was taken and not settled is
--      left to claim_lone: one message that kills its worker must not take its neighbours along.
--      `keyless`: only what has no key, for an ordered handler, where such a message stands for itself.
--      The handler is a range and not an equality, so that only its own index gives the order: else the
--      primary key is walked over the backlog of every other handler. `terms`: what decides a plan stands where
--      the planner cannot look into it, so that the plan is the same whatever it is, and the server keeps it
--      instead of making one for each claim. `limit 1000`, the most there is in a claim, is what it plans for:
--      a limit it cannot look into is a tenth of that, and would be a tenth of the table, whose primary keys
--      would be merged whole. No more is looked at, or locked, than what is asked of it. The commit of a claim need not reach the disk: a server that forgets it has forgotten the token too, and what must
--      be remembered (begun_at, a settlement) is a commit of its own that does. `reads`: topics and versions this
--      code reads, null until it has met one that it does not; the rest is left to those who can. `held`: notes
--      of batches that name what lies above `after`, `held_before` the others, which only retries need: a claim
--      must not walk over the notes of all batches of the last minute, which an open snapshot keeps.
with terms as materialized (
    select %(limit)s::bigint as most, %(again_limit)s::bigint as most_again,
        %(reads)s::text[] as reads, coalesce(%(now)s::timestamptz, now()) as now,
        %(keyless)s::boolean as keyless, set_config('synchronous_commit', 'off', true)
), open as (
    select handler
    from outbox.destination cross join terms
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (breaker_opened_at is null or breaker_probe_token = %(token)s)
        and (held_until is null or held_until <= terms.now)
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
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at <= (select t.now from terms as t)
        and d.lease_token is null
        and d.unknown_at is null
        and (d.key is null or not (select t.keyless from terms as t))
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
    select d.id
    from outbox.delivery as d
    where (d.handler, d.id) > ((select handler from open), %(after)s::bigint)
        and d.handler <= (select handler from open)
        and d.due_at is null
        and d.lease_token is null
        and d.unknown_at is null
        and (d.key is null or not (select t.keyless from terms as t))
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.handler, d.id
    limit 1000
    for update skip locked
), picked as (
    (select id from again limit (select t.most_again from terms as t))
    union all
    select id from fresh
    limit (select t.most from terms as t)
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from picked
    where d.id = picked.id
    returning d.*
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update set deliveries = held.deliveries || excluded.deliveries
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
