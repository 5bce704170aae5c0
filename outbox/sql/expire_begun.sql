-- expire_begun: what began an ambiguous call and lost its lease has an unknown outcome.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); message_pk (id)
-- why: the call may have arrived. The token stays, so that the attempt's own late answer still settles
--      it, until somebody else acts. It does not ask whether the destination is paused: it is a fact.
with lost as materialized (
    select d.id
    from outbox.lease as e
    cross join lateral unnest(e.deliveries) as u(id)
    inner join outbox.delivery as d on d.id = u.id
    where e.handler = %(handler)s
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and d.lease_token = e.token
        and (%(ids)s::bigint[] is null or d.id = any(%(ids)s::bigint[]))
        and d.lease_until <= coalesce(%(now)s::timestamptz, now())
        and d.begun_at is not null
        and d.unknown_at is null
    order by e.until, d.id
    limit 200
    for update of d skip locked
), unknown as (
    update outbox.delivery as d
    set unknown_at = coalesce(%(now)s::timestamptz, now()), last_reason = 'lease_lost_after_begin'
    from lost
    where d.id = lost.id
    returning d.*
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select u.id, u.message_id, u.handler, u.attempts + 1, 'unknown', u.last_reason, %(relay)s,
        coalesce(%(now)s::timestamptz, now())
    from unknown as u
)
select u.id, u.message_id, u.key, u.position, u.attempts, u.resends, u.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from unknown as u
inner join outbox.message as m on m.id = u.message_id
order by u.id
