-- Down from 0007: breakers that are open are forgotten, and everybody calls again.
set local lock_timeout = '5s';
alter table outbox.relay drop column throttled;
drop table outbox.destination_failure;
alter table outbox.destination
drop constraint destination_breaker_is_whole,
drop column breaker_probes,
drop column breaker_probe_token,
drop column breaker_probe_at,
drop column breaker_reason,
drop column breaker_opened_at;
