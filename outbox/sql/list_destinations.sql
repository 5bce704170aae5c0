-- list_destinations: what every handler's destination is told right now.
-- index: none, one row per handler
-- why: for status and explain.
select handler, paused_at, paused_by, paused_why, held_until, held_reason, circuit_opened_at, circuit_reason, circuit_probe_at,
    breaker_opened_at, breaker_reason, breaker_probe_at, breaker_probe_token is not null as breaker_probing
from outbox.destination
order by handler
