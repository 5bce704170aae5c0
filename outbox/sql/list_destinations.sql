-- list_destinations: what every handler's destination is told right now.
-- index: none, one row per handler
-- why: for status and explain.
select handler, paused_at, paused_by, paused_why, held_until, held_reason, circuit_opened_at, circuit_reason, circuit_probe_at
from outbox.destination
order by handler
