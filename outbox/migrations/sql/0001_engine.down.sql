-- 0001_engine, back: drops the engine's schema with everything in it.
-- locks: access exclusive on the engine's tables; stop relays and publishers first.
set local lock_timeout = '5s';

drop table outbox.saga_transition;
drop table outbox.saga;
drop table outbox.relay;
drop table outbox.destination;
drop table outbox.unrouted;
drop table outbox.dedup;
drop table outbox.receipt;
drop table outbox.dead_letter;
drop table outbox.key_lease;
drop table outbox.lease;
drop table outbox.delivery;
drop table outbox.route;
drop table outbox.message;
