-- ticket_rooms: the queues of one handler that live workers read, and how many deliveries each has room for.
-- index: worker_handler_idx (handler, queue); lease_expiry_idx (handler, until)
-- why: tickets out are bounded by twice what the workers have slots for, so that no queue grows long and what
--      waits can still go to another worker. After lock_tickets, so that no other relay counts meanwhile.
select w.queue, w.reads, min(w.ticket_max) as ticket_max,
    2 * sum(w.slots) - coalesce((
        select sum(cardinality(e.deliveries)) from outbox.lease as e where e.handler = %(handler)s and e.queue = w.queue
    ), 0) as room
from outbox.worker as w
where w.handler = %(handler)s and w.seen_at > clock_timestamp() - interval '15 s'
group by w.queue, w.reads
order by room desc, w.queue
