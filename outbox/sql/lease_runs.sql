-- lease_runs: lease, of keys that are ours, the deliveries that stand at the head of each, one run per key.
-- index: delivery_key_idx (handler, key, position, id); delivery_pk (id); message_pk (id); key_lease_pk (handler, key);
--        dead_letter_handler_idx (handler, key, delivery_id)
-- why: one worker works off a run in order, so that a key with a long queue costs no claim per delivery. A
--      run ends before the first row that is leased, waiting or unknown, that comes after a dead letter which
--      `blocks`, or that this code cannot read (`reads`); only a row whose first due date lies ahead has not
--      joined its key. The n-th rows of all keys come before the next ones: a hot key
--      does not fill the batch. Keys of which nothing could be leased are given back. `run` is how many rows
--      of the key were looked at: more than were leased means that it goes on.
with queued as (
    select k.key, q.id, q.ready,
        row_number() over (partition by k.key order by q.position, q.id) as place,
        count(*) over (partition by k.key) as run,
        bool_and(q.ready) over (partition by k.key order by q.position, q.id) as takeable
    from unnest(%(keys)s::text[]) as k(key)
    left join lateral (
        select l.position, l.delivery_id
        from outbox.dead_letter as l
        where %(blocks)s and l.handler = %(handler)s and l.key = k.key
        order by l.position, l.delivery_id
        limit 1
    ) as dead on true
    cross join lateral (
        select d.id, d.position,
            d.lease_token is null and d.unknown_at is null
            and (d.due_at is null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
            and (dead.delivery_id is null or (d.position, d.id) < (dead.position, dead.delivery_id))
            and (%(reads)s::text[] is null or (
                select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
            )) as ready
        from outbox.delivery as d
        where d.handler = %(handler)s
            and d.key = k.key
            and (d.due_at is null or d.last_reason is not null or d.due_at <= coalesce(%(now)s::timestamptz, now()))
        order by d.position, d.id
        limit %(look_max)s
    ) as q
), picked as (
    select id, place, run from queued where takeable and place <= %(run_max)s order by place, id limit %(limit)s
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from picked
    where d.id = picked.id and d.lease_token is null and d.unknown_at is null
    returning d.*, picked.run
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update set deliveries = held.deliveries || excluded.deliveries
), unused as (
    delete from outbox.key_lease as k
    using (
        select u.key from unnest(%(keys)s::text[]) as u(key) where not u.key = any(select l.key from leased as l)
    ) as idle
    where k.handler = %(handler)s and k.key = idle.key and k.token = %(token)s
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at,
    l.run::integer as run
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.key, l.position, l.id
