-- find_newest: the newest delivery of each key that is ours; none of a key that has a lease out.
-- index: delivery_key_idx (handler, key, position, id); message_pk (id); newest_pk (handler, key)
-- why: a newest-only key waits for a call in flight, even one whose lease has expired, and for a person's
--      word on an unknown one. `due` false: the newest waits for its backoff, or only other code
--      can read it (`reads` null: this code reads all); what it overtook does not wait. Told is the newest that
--      was ever taken, if that is newer than all that waits: a redriven letter, or one that comes late, is overtaken.
select k.key,
    case when t.overtakes then t.delivery_id else n.id end as id,
    case when t.overtakes then t.position else n.position end as position,
    n.due and t.overtakes is not true as due
from unnest(%(keys)s::text[]) as k(key)
cross join lateral (
    select d.id, d.position,
        (d.due_at is null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
        and (%(reads)s::text[] is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        )) as due
    from outbox.delivery as d
    where d.handler = %(handler)s
        and d.key = k.key
        and (d.due_at is null or d.last_reason is not null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
    order by d.position desc, d.id desc
    limit 1
) as n
left join lateral (
    select w.position, w.delivery_id, (w.position, w.delivery_id) > (n.position, n.id) as overtakes
    from outbox.newest as w
    where w.handler = %(handler)s and w.key = k.key
) as t on true
where not exists (
    select from outbox.delivery as e
    where e.handler = %(handler)s and e.key = k.key and e.lease_token is not null
)
