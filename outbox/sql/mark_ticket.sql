-- mark_ticket: make the lease just claimed a ticket that goes to a queue.
-- index: lease_pk (token)
-- why: in the claim's transaction. What is under a ticket has not been tried: it is no suspect when it expires.
update outbox.lease as e
set queue = %(queue)s
where e.token = %(token)s
