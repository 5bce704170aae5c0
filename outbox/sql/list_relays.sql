-- list_relays: the relays that have been seen, and how long ago.
-- index: none, a row per relay
-- why: for status; a relay not seen for a minute is called lost.
select id, started_at, seen_at, handlers, asleep_until, version, clock_skew, clock_timestamp() - seen_at as unseen_for,
    coalesce(hands_over, false) as hands_over, trouble
from outbox.relay
order by started_at
