-- list_workers: what each worker that has been seen takes, and whether it is alive.
-- index: none, a row per worker and handler
-- why: for the doctor; a worker unseen for as long as relays would count it no more is gone.
select id, handler, queue, slots, seen_at > clock_timestamp() - interval '15 s' as alive
from outbox.worker
order by handler, id
