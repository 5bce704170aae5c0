-- list_tickets: the tickets that are out, by queue, and whether a live worker reads it.
-- index: none, a row per batch under way; worker_handler_idx (handler, queue)
-- why: for the doctor. What lies where nobody reads is taken back when its lease is over.
select e.handler, e.queue, count(*) as tickets, sum(cardinality(e.deliveries)) as deliveries,
    max(e.until) as until,
    exists (
        select from outbox.worker as w
        where w.handler = e.handler and w.queue = e.queue and w.seen_at > clock_timestamp() - interval '15 s'
    ) as taken
from outbox.lease as e
where e.queue is not null
group by e.handler, e.queue
order by e.handler, e.queue
