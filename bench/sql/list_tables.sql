-- list_tables: the engine's tables that hold rows.
-- index: pg_class of the catalogue
-- why: COPY is measured on whatever tables publishing writes to, not on a list kept by hand.
select c.relname
from pg_catalog.pg_class as c
where c.relnamespace = 'outbox'::regnamespace and c.relkind = 'r'
order by c.relname
