-- expire_begun: what began an ambiguous call and lost its lease has an unknown outcome.
-- index: delivery_lease_idx (handler, lease_until) where lease_token is not null
-- why: the call may have arrived. The token stays, so that the attempt's own late answer still settles
--      it, until somebody else acts. It does not ask whether the destination is paused: it is a fact.
with lost as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = %(handler)s
        and d.lease_token is not null
        and d.lease_until <= coalesce(%(now)s::timestamptz, now())
        and d.begun_at is not null
        and d.unknown_at is null
    order by d.lease_until
    limit 200
    for update skip locked
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
select u.id, u.message_id, u.key, u.position, u.attempts, u.resends, u.lease_token, u.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from unknown as u
inner join outbox.message as m on m.id = u.message_id
order by u.id
