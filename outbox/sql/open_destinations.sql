-- open_destinations: the handlers whose calls may begin now.
-- index: none, one row per handler
-- why: for what was claimed a while ago and has not begun; the same conditions as in every claim. The probe of an
--      open breaker is not asked: it begins at once.
select handler
from outbox.destination
where paused_at is null
    and circuit_opened_at is null
    and breaker_opened_at is null
    and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
