-- audit_keys: of the next `window` ordering keys of one handler, what stands first in each and is old.
-- index: delivery_key_idx (handler, key, position, id); dead_letter_handler_idx (handler, key, delivery_id); message_pk (id);
--        delivery_ready_idx (handler, id) where due_at is null
-- why: only the first of a key may go, so a hot key costs one look however long its queue. Asked only where
--      audit_front has found something old, and from the key where the last look ended. `headed` false: where only
--      the newest counts, a key waits for a call in flight and for nothing else. `blocks`: a dead letter keeps its key. What has no key stands for itself.
with recursive step as (
    (
        select d.key, 1 as place from outbox.delivery as d
        where d.handler = %(handler)s and d.key > %(after)s::text
        order by d.key
        limit 1
    )
    union all
    select (
        select d.key from outbox.delivery as d
        where d.handler = %(handler)s and d.key > s.key
        order by d.key
        limit 1
    ), s.place + 1
    from step as s
    where s.key is not null and s.place < %(window)s
), first as materialized (
    select h.id, h.message_id, h.due_at, h.lease_until, h.unknown_at, h.taken
    from step as s
    cross join lateral (
        select d.*, exists (
            select from outbox.delivery as e
            where e.handler = d.handler and e.key = d.key and e.id <> d.id and e.lease_token is not null
        ) and not %(headed)s or %(blocks)s and exists (
            select from outbox.dead_letter as l
            where l.handler = d.handler and l.key = d.key and (l.position, l.delivery_id) < (d.position, d.id)
        ) as taken
        from outbox.delivery as d
        where d.handler = %(handler)s and d.key = s.key
            and (d.due_at is null or d.last_reason is not null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
        order by d.position, d.id
        limit 1
    ) as h
    union all
    select d.id, d.message_id, d.due_at, d.lease_until, d.unknown_at, false as taken
    from (
        select * from outbox.delivery as d
        where (d.handler, d.id) > (%(handler)s, 0::bigint) and d.handler <= %(handler)s
            and d.due_at is null and %(after)s::text = ''
        order by d.handler, d.id
        limit %(window)s
    ) as d
    where d.key is null
), judged as (
    select f.id, greatest(coalesce(f.due_at, m.created_at), f.lease_until) as since,
        f.unknown_at is null and not f.taken
        and (f.lease_until is null or f.lease_until <= coalesce(%(now)s::timestamptz, now()) - %(grace)s::interval)
        and (f.due_at is null or f.due_at <= coalesce(%(now)s::timestamptz, now())) as free,
        coalesce(f.unknown_at, m.created_at) as waits_since
    from first as f
    inner join outbox.message as m on m.id = f.message_id
)
select
    (select j.id from judged as j where j.free order by j.since, j.id limit 1) as free_id,
    (select min(j.since) from judged as j where j.free) as free_since,
    (select j.id from judged as j where not j.free order by j.waits_since, j.id limit 1) as waiting_id,
    (select min(j.waits_since) from judged as j where not j.free) as waiting_since,
    (select max(s.key) from step as s where s.place = %(window)s) as seen_to
