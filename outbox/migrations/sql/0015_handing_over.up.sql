-- 0015_handing_over: a relay tells whether it hands over to workers, and what keeps it from doing so.
-- locks: relay, a few rows, exclusively for a moment.
-- yesterday's code: runs; what it does not tell stays null and is taken for a relay that works inline.
set local lock_timeout = '5s';

alter table outbox.relay
add column hands_over boolean,
add column trouble text;
