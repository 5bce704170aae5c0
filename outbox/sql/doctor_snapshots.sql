-- doctor_snapshots: who keeps dead rows from being removed: sessions, prepared transactions, slots.
-- index: none, the server's own views
-- why: one forgotten transaction makes every table of the server grow. `age` counts transactions for a slot, which has no
--      time. No query text is read: it quotes values.
select 'session' as kind, a.pid::text as name, a.state,
    clock_timestamp() - a.xact_start as open_for, age(a.backend_xmin)::bigint as age
from pg_stat_activity as a
where a.xact_start is not null and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
union all
select 'prepared', p.gid, 'prepared', clock_timestamp() - p.prepared, age(p.transaction)::bigint
from pg_prepared_xacts as p
union all
select 'slot', s.slot_name, case when s.active then 'active' else 'inactive' end, null,
    greatest(age(s.xmin), age(s.catalog_xmin))::bigint
from pg_replication_slots as s
where s.xmin is not null or s.catalog_xmin is not null
