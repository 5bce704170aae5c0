-- take_backfill_turn: wait until nobody else gives this handler the past, and whether the handler is paused.
-- index: destination_pk (handler)
-- why: two backfills at once would both find a message that the handler never had. A statement of its own: the
--      next one's snapshot sees what the other has committed. The row stays locked, so that a handler is not
--      resumed between this answer and the deliveries that rest on it.
select pg_advisory_xact_lock(hashtext('outbox.backfill'), hashtext(d.handler)) is not null as mine,
    d.paused_at is not null as paused
from outbox.destination as d
where d.handler = %(handler)s
for share
