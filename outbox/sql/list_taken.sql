-- list_taken: of some handlers, those that belong to another application.
-- index: destination_pk (handler)
-- why: asked after registering, in its transaction; a statement of its own sees who was first.
select d.handler, d.application
from outbox.destination as d
where d.handler = any(%(handlers)s::text[]) and d.application <> %(application)s
order by d.handler
