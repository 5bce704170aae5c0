-- 0015_handing_over, back: relays tell less again.
-- locks: relay, a few rows, exclusively for a moment.
set local lock_timeout = '5s';

alter table outbox.relay
drop column trouble,
drop column hands_over;
