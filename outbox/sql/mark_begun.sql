-- mark_begun: note, before the first byte leaves, that ambiguous calls are about to begin.
-- index: delivery_pk (id); destination_pk (handler)
-- why: committed on its own; a crash after it is stored as unknown, a crash before it is an ordinary retry.
--      A lease with less left than the call may take begins nothing, nor does a destination that was closed
--      after the claim.
update outbox.delivery as d
set begun_at = coalesce(%(now)s::timestamptz, now())
where d.id = any(%(ids)s::bigint[])
    and d.lease_token = %(token)s
    and d.lease_until > coalesce(%(now)s::timestamptz, now()) + %(may_take)s::interval
    and d.begun_at is null
    and exists (
        select from outbox.destination as o
        where o.handler = d.handler
            and o.paused_at is null
            and o.circuit_opened_at is null
            and (o.breaker_opened_at is null or o.breaker_probe_token = %(token)s)
            and (o.held_until is null or o.held_until <= coalesce(%(now)s::timestamptz, now()))
    )
returning d.id
