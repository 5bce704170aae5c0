-- open_circuit: stop all calls of a destination that rejected our credentials.
-- index: destination_pk (handler)
-- why: the row count tells the one process that opened it, so that the alert is raised once.
update outbox.destination as d
set circuit_opened_at = coalesce(%(now)s::timestamptz, now()),
    circuit_reason = %(reason)s,
    circuit_probe_at = coalesce(%(now)s::timestamptz, now()) + %(probe_after)s::interval
where d.handler = %(handler)s and d.circuit_opened_at is null
returning d.circuit_opened_at
