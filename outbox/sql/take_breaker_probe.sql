-- take_breaker_probe: the right to call a destination once whose breaker is open.
-- index: destination_pk (handler)
-- why: compare-and-set on the row, so of all processes one gets it; the claim made under its token passes the
--      open breaker. If that process dies, the next may have the right when this one has expired.
update outbox.destination as d
set breaker_probe_token = %(token)s,
    breaker_probe_at = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
where d.handler = %(handler)s
    and d.breaker_opened_at is not null
    and d.breaker_probe_at <= coalesce(%(now)s::timestamptz, now())
    and d.paused_at is null
    and d.circuit_opened_at is null
    and (d.held_until is null or d.held_until <= coalesce(%(now)s::timestamptz, now()))
returning d.handler
