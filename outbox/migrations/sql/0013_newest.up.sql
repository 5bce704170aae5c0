-- 0013_newest: what was the newest ever taken, per newest-only key.
-- locks: none; the table is new.
-- yesterday's code: runs, and remembers nothing.
set local lock_timeout = '5s';

-- P5: nothing older is tried after it: no redriven letter, nothing backfilled, no lower sequence that comes late.
-- No index but the key's own, and room on the page: each next one is a heap-only update (HOT).
create table outbox.newest (
    handler text not null,
    key text not null,
    position bigint not null,
    delivery_id bigint not null,
    message_id bigint not null,
    constraint newest_pk primary key (handler, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
