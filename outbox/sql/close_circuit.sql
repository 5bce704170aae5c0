-- close_circuit: the credentials work again; calls go on, and what waits is due now.
-- index: destination_pk (handler)
-- why: the row count tells the one process that closed it.
update outbox.destination as d
set circuit_opened_at = null, circuit_reason = null, circuit_probe_at = null
where d.handler = %(handler)s and d.circuit_opened_at is not null
returning d.handler
