-- 0007_breaker: a circuit breaker per destination, shared by all processes.
-- locks: destination and relay, both of a few rows, exclusively for a moment.
-- yesterday's code: runs on it; it neither opens a breaker nor obeys one.
set local lock_timeout = '5s';

-- breaker_opened_at    nobody calls but who holds the probe
-- breaker_probe_at     when the next probe may be taken; while one is under way, when it counts as lost
-- breaker_probe_token  the token of the claim that is the probe
-- breaker_probes       probes that failed since it opened; each doubles the wait for the next
alter table outbox.destination
add column breaker_opened_at timestamptz,
add column breaker_reason text,
add column breaker_probe_at timestamptz,
add column breaker_probe_token uuid,
add column breaker_probes integer not null default 0;

-- not validated: every row there is has nothing in these columns, and every write is checked
alter table outbox.destination
add constraint destination_breaker_is_whole check (
    (breaker_opened_at is null) = (breaker_probe_at is null)
    and (breaker_opened_at is not null or breaker_probe_token is null)
) not valid;

-- Which deliveries a destination has failed lately: what opens its breaker, and what is due when it closes.
create table outbox.destination_failure (
    handler text not null,
    delivery_id bigint not null,
    failed_at timestamptz not null,
    constraint destination_failure_pk primary key (handler, delivery_id)
);

-- Handlers whose rate is used up in that relay's process, as it last said.
alter table outbox.relay add column throttled text[] not null default '{}';
