-- has_suspect: whether a delivery of this handler was taken and not settled, and may be tried now.
-- index: delivery_lease_idx (handler, lease_until) where lease_token is not null
-- why: asked often and cheaply; only a yes makes the process stop everything else, so a paused or held
--      handler says no.
select 1
from outbox.delivery as d
where d.handler = %(handler)s
    and d.lease_token is not null
    and d.lease_until <= coalesce(%(now)s::timestamptz, now())
    and d.begun_at is null
    and d.unknown_at is null
    and exists (
        select from outbox.destination as o
        where o.handler = d.handler
            and o.paused_at is null
            and o.circuit_opened_at is null
            and (o.held_until is null or o.held_until <= coalesce(%(now)s::timestamptz, now()))
    )
limit 1
