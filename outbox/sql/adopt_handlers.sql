-- adopt_handlers: pass handlers on from one application to another.
-- index: destination_pk (handler)
-- why: an application that was renamed is another one to the database until somebody says so.
update outbox.destination
set application = %(application)s
where handler = any(%(handlers)s::text[]) and application = %(owner)s
returning handler
