-- claim_ranked: lease up to `limit` due deliveries of one unordered handler, urgent ones first and low ones last.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        delivery_ranked_idx (handler, priority DESC, id); delivery_ranked_age_idx (handler, id);
--        delivery_pk (id); message_pk (id); lease_held_idx (handler collate "C", last_id) where first_id is not null
-- why: as claim, for a handler that has priorities waiting: a statement of its own, since one that asks for ranks
--      takes a third longer and nearly nobody gives any. A claim `by_age`, one in a few, goes by id alone, so that
--      nothing starves. `fresh` is null for a low one that was taken as such, which is a sign that nothing else was
--      left. What has a key is taken by id: the order of a key wins over any rank. `keyless`, `reads`,
--      `terms` and limits: as in claim.
with terms as materialized (
    select %(limit)s::bigint as most, %(again_limit)s::bigint as most_again,
        %(reads)s::text[] as reads, coalesce(%(now)s::timestamptz, now()) as now,
        %(keyless)s::boolean as keyless, %(by_age)s::boolean as by_age, set_config('synchronous_commit', 'off', true)
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
        and e.until > (select t.now from terms as t) - interval '1 minute'
        and e.first_id is not null
), urgent as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at is null
        and d.priority > 0
        and d.key is null
        and not (select t.by_age from terms as t)
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.priority desc, d.id
    limit 1000
    for update skip locked
), again as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at <= (select t.now from terms as t)
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and (d.key is null or not (select t.keyless from terms as t))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
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
        and (d.priority = 0 or d.key is not null)
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and (d.key is null or not (select t.keyless from terms as t))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.handler, d.id
    limit 1000
    for update skip locked
), low as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.due_at is null
        and d.priority < 0
        and d.key is null
        and not (select t.by_age from terms as t)
        and d.lease_token is null
        and d.unknown_at is null
        and ((select t.reads from terms as t) is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and not exists (
            select from held as h where d.id between h.first_id and h.last_id and d.id = any(h.deliveries)
        )
    order by d.priority desc, d.id
    limit 1000
    for update skip locked
), aged as materialized (
    select d.id
    from outbox.delivery as d
    where (d.handler, d.id) > ((select handler from open), 0::bigint)
        and d.handler <= (select handler from open)
        and d.due_at is null
        and d.priority <> 0
        and d.key is null
        and (select t.by_age from terms as t)
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
), oldest as (
    select id
    from (
        (select id from fresh where (select t.by_age from terms as t) limit (select t.most from terms as t))
        union all
        (select id from aged limit (select t.most from terms as t))
    ) as o
    order by id
), picked as (
    select id from urgent
    union all
    (select id from again limit (select t.most_again from terms as t))
    union all
    select id from fresh where not (select t.by_age from terms as t)
    union all
    select id from low
    union all
    select id from oldest
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
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, case
        when l.due_at is not null then false
        when l.priority = 0 or l.key is not null then true
        when l.priority > 0 or (select t.by_age from terms as t) then false
    end as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
