-- list_tables: what stands in the engine's schema.
-- index: none, the catalogue
-- why: an application's history must put nothing there.
select c.oid::regclass::text as name
from pg_catalog.pg_class as c
where c.relnamespace = to_regnamespace('outbox') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
order by name
