-- 0011_relay_facts: a relay tells its version and how far its machine's clock is off.
-- locks: relay, a few rows, exclusively for a moment.
-- yesterday's code: runs; what it does not tell stays null.
set local lock_timeout = '5s';

alter table outbox.relay
add column version text,
add column clock_skew interval;
