-- leave_worker: a worker that stops takes its rows with it.
-- index: worker_pk (id, handler)
-- why: what remains is what relays send tickets to.
delete from outbox.worker
where id = %(worker)s
