-- take_circuit_probe: the right to check the credentials of one destination once.
-- index: destination_pk (handler)
-- why: one process at a time; if it dies, the next may after `probe_after`.
update outbox.destination as d
set circuit_probe_at = coalesce(%(now)s::timestamptz, now()) + %(probe_after)s::interval
where d.handler = %(handler)s
    and d.circuit_opened_at is not null
    and d.circuit_probe_at <= coalesce(%(now)s::timestamptz, now())
returning d.handler
