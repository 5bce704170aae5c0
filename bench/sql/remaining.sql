-- remaining: one while any delivery is left to do, but for handlers in trouble, else zero.
-- index: none; the first row found ends the scan
-- why: asked every few milliseconds once the last handler has started, so it must cost nothing.
select count(*)
from (
    select from outbox.delivery as d where not d.handler = any(%(others)s::text[]) limit 1
) as one
