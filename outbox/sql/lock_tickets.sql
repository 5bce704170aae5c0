-- lock_tickets: make the relays of one handler count what workers have room for, and claim, one after the other.
-- index: none, no table is read
-- why: a statement of its own before ticket_rooms, whose snapshot must be younger than the commit it waited for: in
--      one statement the second relay would count without the tickets of the first. It ends with the transaction.
select pg_advisory_xact_lock(hashtextextended('outbox.ticket ' || %(handler)s, 0))
