-- explain_delivery: everything that decides whether one delivery can be claimed now.
-- index: delivery_pk (id); lease_pk (token); delivery_key_idx (handler, key, position, id);
--        dead_letter_handler_idx (handler, key, delivery_id); key_lease_pk (handler, key);
--        lease_held_idx (handler collate "C", last_id)
--        where first_id is not null; message_pk (id); question_pk (delivery_id);
--        receipt_message_idx (message_id, id); worker_handler_idx (handler, queue);
--        relay_pk (id); worker_pk (id, handler)
-- why: one row, so that the reason is told from one snapshot. `head_id` is the first of its key that has joined
--      it, `taken_id` the first of its key under a lease, `newest_id` what has overtaken it: which of them counts
--      depends on the handler's order. `noted_by` holds it in an open transaction, which only the note tells.
--      `holder` is what shows itself under the name of whoever has it; a drain, or a process for suspects, does not.
--      The key itself is not told: it may carry somebody's id.
select d.id, d.message_id, d.handler, d.key is not null as keyed, d.position, d.due_at,
    d.lease_token is not null as leased, d.lease_until,
    held.relay as leased_by, held.queue, held.taken,
    (
        select min(l.kind) from (
            select 'relay' as kind from outbox.relay as r
            where r.id = coalesce(held.relay, noted.relay) and r.seen_at > clock_timestamp() - interval '1 minute'
            union all
            select 'worker' from outbox.worker as w
            where w.id = coalesce(held.relay, noted.relay) and w.seen_at > clock_timestamp() - interval '15 s'
        ) as l
    ) as holder,
    d.begun_at, d.unknown_at, d.attempts, d.lone_claims, d.last_reason, m.topic, m.version, m.created_at,
    coalesce(%(now)s::timestamptz, now()) as now,
    o.paused_at, o.paused_by, o.paused_why, o.held_until, o.held_reason, o.circuit_opened_at, o.circuit_reason,
    o.application,
    o.breaker_opened_at, o.breaker_reason, o.breaker_probe_at, o.breaker_probe_token is not null as breaker_probing,
    (
        select min(r.id) from outbox.relay as r
        where d.handler = any(r.throttled) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as throttled_by,
    (
        select e.id from outbox.delivery as e
        where e.handler = d.handler and e.key = d.key and (e.position, e.id) < (d.position, d.id)
            and (e.due_at is null or e.last_reason is not null or e.due_at <= coalesce(%(now)s::timestamptz, now()))
        order by e.position, e.id
        limit 1
    ) as head_id,
    (
        select e.id from outbox.delivery as e
        where e.handler = d.handler and e.key = d.key and e.id <> d.id and e.lease_token is not null
        order by e.position, e.id
        limit 1
    ) as taken_id,
    (
        select e.id from outbox.delivery as e
        where e.handler = d.handler and e.key = d.key and (e.position, e.id) > (d.position, d.id)
            and (e.due_at is null or e.last_reason is not null or e.due_at <= coalesce(%(now)s::timestamptz, now()))
        order by e.position desc, e.id desc
        limit 1
    ) as newest_id,
    (
        select l.delivery_id from outbox.dead_letter as l
        where l.handler = d.handler and l.key = d.key and (l.position, l.delivery_id) < (d.position, d.id)
        order by l.position, l.delivery_id
        limit 1
    ) as dead_id,
    (
        select k.until from outbox.key_lease as k
        where k.handler = d.handler and k.key = d.key and k.until > coalesce(%(now)s::timestamptz, now())
    ) as key_until,
    q.asked, q.due_at as asked_at, q.last_answer,
    (
        select coalesce(t.detail ->> 'actor', t.reason) from outbox.receipt as t
        where t.message_id = d.message_id and t.delivery_id = d.id and t.outcome = 'redriven'
        order by t.id desc
        limit 1
    ) as redriven_by,
    noted.relay as noted_by, noted.until as noted_until,
    exists (
        select from outbox.relay as r
        where d.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as relay_alive,
    exists (
        select from outbox.relay as r
        where d.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
            and r.hands_over is not true
    ) as inline_alive,
    exists (
        select from outbox.worker as w
        where w.handler = d.handler and w.seen_at > clock_timestamp() - interval '15 s'
            and m.topic || ' ' || m.version = any(w.reads)
    ) as worker_alive,
    (
        select min(r.trouble) from outbox.relay as r
        where d.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as relay_trouble
from outbox.delivery as d
inner join outbox.message as m on m.id = d.message_id
left join lateral (
    select e.relay, e.queue, exists (
        select from outbox.worker as w
        where w.handler = e.handler and w.queue = e.queue and w.seen_at > clock_timestamp() - interval '15 s'
    ) as taken
    from outbox.lease as e where e.token = d.lease_token
) as held on true
left join outbox.destination as o on o.handler = d.handler
left join outbox.question as q on q.delivery_id = d.id and q.call_token = d.lease_token
left join lateral (
    select e.relay, e.until from outbox.lease as e
    where e.handler = d.handler collate "C" and d.id between e.first_id and e.last_id and d.id = any(e.deliveries)
    order by e.until desc
    limit 1
) as noted on true
where d.id = %(delivery_id)s
