-- explain_delivery: everything that decides whether one delivery can be claimed now.
-- index: delivery_pk (id)
-- why: one row, so that the reason is told from one snapshot.
select d.id, d.message_id, d.handler, d.key, d.position, d.due_at, d.lease_token is not null as leased, d.lease_until,
    d.leased_by, d.begun_at, d.unknown_at, d.attempts, d.lone_claims, d.last_reason, m.topic, m.version, m.created_at,
    coalesce(%(now)s::timestamptz, now()) as now,
    o.paused_at, o.paused_by, o.paused_why, o.held_until, o.held_reason, o.circuit_opened_at, o.circuit_reason,
    (
        select e.id from outbox.delivery as e
        where e.handler = d.handler and e.key = d.key and (e.position, e.id) < (d.position, d.id)
            and (e.due_at is null or e.last_reason is not null or e.due_at <= coalesce(%(now)s::timestamptz, now()))
        order by e.position, e.id
        limit 1
    ) as head_id,
    exists (
        select from outbox.relay as r
        where d.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
    ) as relay_alive
from outbox.delivery as d
inner join outbox.message as m on m.id = d.message_id
left join outbox.destination as o on o.handler = d.handler
where d.id = %(delivery_id)s
