-- lock_keys: take the lease of up to `limit` ordering keys of one handler that have something due.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id);
--        delivery_key_idx (handler, key, position, id); key_lease_pk (handler, key);
--        dead_letter_handler_idx (handler, key, delivery_id); message_pk (id)
-- why: the lease of a key is taken before a statement with a later snapshot looks at its deliveries: what
--      this one saw may have been settled, or have failed and be in its backoff, before the key was ours.
--      The primary key of key_lease decides between two relays that want one key (P5). Keys go in one
--      order, so that two claims never wait for each other in a ring. `again_keys` are those a batch before
--      left unfinished; the look goes `window` rows beyond the low-water mark `after` and says how far. Keys
--      in other hands are told too: what they left behind the mark is asked for again. `headed`: a key whose
--      head waits, or is unknown, takes no place from those that may go; with `blocks`, neither does one whose
--      head comes after a dead letter of its key. `unhandled`: of a newest-only handler, neither does a key
--      of which something is in somebody's hands, be it without a lease or unknown. `reads`, `terms` and
--      limits as in claim; 20000 is the widest window.
with terms as materialized (
    select %(limit)s::bigint as most, %(window)s::bigint as look,
        %(again_keys)s::text[] as again_keys, %(reads)s::text[] as reads,
        coalesce(%(now)s::timestamptz, now()) as now, %(headed)s::boolean as headed, %(blocks)s::boolean as blocks,
        %(unhandled)s::boolean as unhandled, set_config('synchronous_commit', 'off', true)
), open as (
    select handler
    from outbox.destination cross join terms
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (breaker_opened_at is null or breaker_probe_token = %(token)s)
        and (held_until is null or held_until <= terms.now)
), again as materialized (
    select * from (
        select d.key, d.due_at
        from outbox.delivery as d
        where d.handler = (select handler from open)
            and d.due_at <= (select t.now from terms as t)
            and d.lease_token is null
            and d.unknown_at is null
            and d.key is not null
        order by d.due_at, d.id
        limit 20000
    ) as look
    limit (select t.look from terms as t)
), fresh as materialized (
    select * from (
        select d.id, d.key, d.lease_token is null and d.unknown_at is null and d.key is not null as wanted
        from outbox.delivery as d
        where (d.handler, d.id) > ((select handler from open), %(after)s::bigint)
            and d.handler <= (select handler from open)
            and d.due_at is null
        order by d.handler, d.id
        limit 20000
    ) as look
    limit (select t.look from terms as t)
), turns as (
    select a.key, row_number() over (order by min(a.due_at)) as turn from again as a group by a.key
    union all
    select f.key, row_number() over (order by min(f.id)) as turn from fresh as f where f.wanted group by f.key
    union all
    select u.key, u.turn from unnest((select t.again_keys from terms as t)) with ordinality as u(key, turn)
), asked as (
    select t.key
    from turns as t
    where not exists (
        select from outbox.key_lease as k
        where k.handler = %(handler)s and k.key = t.key and k.until > (select t.now from terms as t)
    )
    group by t.key
    order by min(t.turn), t.key
), chosen as materialized (
    select a.key
    from asked as a
    cross join lateral (
        select d.id, d.position, d.lease_token is null
            and d.unknown_at is null
            and (d.due_at is null or d.due_at <= (select t.now from terms as t))
            and ((select t.reads from terms as t) is null or (
                select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
            )) as ready
        from outbox.delivery as d
        where d.handler = %(handler)s
            and d.key = a.key
            and (d.due_at is null or d.last_reason is not null or d.due_at <= (select t.now from terms as t))
        order by d.position, d.id
        limit 1
    ) as head
    where (
        not (select t.headed from terms as t)
        or head.ready
        and not ((select t.blocks from terms as t) and exists (
            select from outbox.dead_letter as l
            where l.handler = %(handler)s and l.key = a.key and (l.position, l.delivery_id) < (head.position, head.id)
        ))
    )
    and not ((select t.unhandled from terms as t) and exists (
        select from outbox.delivery as e
        where e.handler = %(handler)s and e.key = a.key and e.lease_token is not null
    ))
    limit (select t.most from terms as t)
), locked as (
    insert into outbox.key_lease as k (handler, key, token, until)
    select o.handler, c.key, %(token)s, coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from open as o cross join chosen as c
    order by c.key
    on conflict on constraint key_lease_pk do update
        set token = excluded.token, until = excluded.until
        where k.until <= (select t.now from terms as t)
    returning k.key
), missed as materialized (
    select min(f.id) as id
    from fresh as f
    where f.wanted
        and (select count(*) from chosen) >= (select t.most from terms as t)
        and not f.key = any(select c.key from chosen as c)
        and not exists (
            select from outbox.key_lease as k
            where k.handler = %(handler)s and k.key = f.key and k.until > (select t.now from terms as t)
        )
)
select a.key, a.mine,
    coalesce((select m.id - 1 from missed as m), (select max(f.id) from fresh as f)) as seen_to,
    (select count(*) from fresh) >= (select t.look from terms as t) or (select m.id from missed as m) is not null as more
from (
    select l.key, true as mine from locked as l
    union all
    select distinct t.key, false as mine
    from turns as t
    inner join outbox.key_lease as k on k.handler = %(handler)s and k.key = t.key
    where k.until > (select t.now from terms as t)
    union all
    select null, null
) as a
