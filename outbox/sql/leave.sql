-- leave: a relay that stops takes its row with it; rows of relays unseen for a day go too.
-- index: none, a row per relay
-- why: what remains is what status calls alive or lost.
delete from outbox.relay
where id = %(relay)s or seen_at < clock_timestamp() - interval '1 day'
