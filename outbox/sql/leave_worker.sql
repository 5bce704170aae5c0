-- leave_worker: a worker that stops takes its rows with it; rows of workers unseen for a day go too.
-- index: none, a row per worker and handler
-- why: what remains is what relays send tickets to.
delete from outbox.worker
where id = %(worker)s or seen_at < clock_timestamp() - interval '1 day'
