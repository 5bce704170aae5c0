-- find_compatible_from: the oldest revision of a history whose code may run on this schema.
-- index: compatibility_pk (history)
-- why: read only where the schema is of a revision this code does not know, as in the middle of a deploy.
select compatible_from
from outbox.compatibility
where history = %(history)s
