-- claim_lone: lease one delivery that was taken and not settled, alone, and count that.
-- index: delivery_lease_idx (handler, lease_until) where lease_token is not null
-- why: whoever held it died or stalled; if the message is what kills its workers, be it in `prepare`, only
--      it may suffer.
--      What began an ambiguous call is not claimed again: expire_begun decides about it.
with open as (
    select handler
    from outbox.destination
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
), suspect as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = (select handler from open)
        and d.lease_token is not null
        and d.lease_until <= coalesce(%(now)s::timestamptz, now())
        and d.begun_at is null
        and d.unknown_at is null
    order by d.lease_until
    limit 1
    for update skip locked
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s,
        lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval,
        leased_by = %(relay)s,
        lone_claims = d.lone_claims + 1
    from suspect
    where d.id = suspect.id
    returning d.*
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_token, l.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
