-- lock_breaker: make those who note failures of a destination that is not left alone yet count one after the other.
-- index: destination_pk (handler)
-- why: a statement of its own before note_failures counts again, whose snapshot must be younger than the commit it
--      waited for: in one statement the second would count without the failures of the first.
select d.handler
from outbox.destination as d
where d.handler = %(handler)s and d.breaker_opened_at is null
for no key update
