-- 0017_held_notes, back: notes are found by their time again.
-- locks: lease, exclusively for a moment.
set local lock_timeout = '5s';

drop index outbox.lease_held_idx;
