-- 0009_compatibility, taken back: code that does not know the schema refuses to start again.
set local lock_timeout = '5s';

drop table outbox.compatibility;
