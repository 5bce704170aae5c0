-- 0017_held_notes: find the notes of held batches by the deliveries they name.
-- locks: lease, exclusively, for an index over what is under way now.
-- yesterday's code: runs, and finds them by their time as before.
set local lock_timeout = '5s';

-- A claim asks only for notes above its low-water mark. By time it walked over the dead ones of a minute: under a
-- snapshot that keeps them, each claim over all batches since then. The collation keeps claims from the index by
-- time, which looks as cheap while the table is empty. The table holds what is under way now, a few hundred rows.
-- squawk-ignore require-concurrent-index-creation
create index lease_held_idx on outbox.lease (handler collate "C", last_id) where first_id is not null;
