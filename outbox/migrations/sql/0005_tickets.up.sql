-- 0005_tickets: leases that are tickets, on their way to a worker, and the workers that take them.
-- locks: one short exclusive lock on outbox.lease, whose rows live for seconds; the rest is new.
-- yesterday's code: runs; it sends no tickets, and knows none: keep it beside inline relays only.
set local lock_timeout = '5s';

-- The queue of the broker that a ticket was sent to; null: a lease, in the hands of its relay or worker.
alter table outbox.lease add column queue text;

-- What each worker takes: where its tickets go, which messages it reads, how much it has room for.
create table outbox.worker (
    id text not null,
    handler text not null,
    queue text not null,
    reads text[] not null,
    ticket_max integer not null,
    slots integer not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    constraint worker_pk primary key (id, handler),
    constraint worker_has_room check (ticket_max >= 1 and slots >= 1)
);
create index worker_handler_idx on outbox.worker (handler, queue);
