-- beat_worker: this worker lives and takes these handlers' tickets; what it does not name it takes no more.
-- index: worker_pk (id, handler)
-- why: relays hand over to queues that somebody reads, and only what that code can read.
with gone as (
    delete from outbox.worker as w where w.id = %(worker)s and not w.handler = any(%(handlers)s::text[])
)
insert into outbox.worker as w (id, handler, queue, reads, ticket_max, slots, started_at, seen_at)
select %(worker)s, u.handler, u.queue, string_to_array(u.reads, chr(10)), u.ticket_max, u.slots,
    clock_timestamp(), clock_timestamp()
from unnest(
    %(handlers)s::text[], %(queues)s::text[], %(reads)s::text[], %(ticket_maxs)s::integer[], %(slots)s::integer[]
) as u(handler, queue, reads, ticket_max, slots)
on conflict on constraint worker_pk do update set seen_at = excluded.seen_at
