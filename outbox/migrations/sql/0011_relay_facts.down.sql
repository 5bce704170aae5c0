-- 0011_relay_facts, back: relays tell less again.
-- locks: relay, a few rows, exclusively for a moment.
set local lock_timeout = '5s';

alter table outbox.relay
drop column clock_skew,
drop column version;
