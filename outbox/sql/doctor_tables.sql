-- doctor_tables: size, dead rows and last vacuum of each table of the engine.
-- index: none, a row per table from the server's statistics
-- why: bloat slows every claim long before anything fails.
select c.relname as name, pg_total_relation_size(c.oid) as bytes, coalesce(s.n_live_tup, 0) as live_rows,
    coalesce(s.n_dead_tup, 0) as dead_rows, greatest(s.last_vacuum, s.last_autovacuum) as vacuumed_at,
    coalesce('autovacuum_enabled=false' = any(c.reloptions), false) as vacuum_off
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
left join pg_stat_user_tables as s on s.relid = c.oid
where n.nspname = 'outbox' and c.relkind = 'r'
order by bytes desc, name
