-- doctor_indexes: the indexes of the engine's tables, and whether each can be used.
-- index: none, a row per index from the catalogue
-- why: a concurrent build that failed leaves an invalid index: paid for by every write, used by no read.
select i.relname as name, t.relname as table_name, pg_get_indexdef(x.indexrelid) as definition,
    x.indisvalid and x.indisready as valid
from pg_index as x
inner join pg_class as i on i.oid = x.indexrelid
inner join pg_class as t on t.oid = x.indrelid
inner join pg_namespace as n on n.oid = t.relnamespace
where n.nspname = 'outbox'
order by i.relname
