-- unsound_schema: indexes that are missing or invalid, and tables whose row-level security is off.
-- index: none (the catalogue)
-- why: a missing index is found when a night takes hours, a policy that is off when it is too late.
select
    wanted.name,
    case when index.indexrelid is null then 'index_missing' else 'index_invalid' end as fault
from unnest(%(indexes)s::text[]) as wanted (name)
left join pg_class as relation
    on relation.relname = wanted.name
    and relation.relnamespace = 'public'::regnamespace
    and relation.relkind = 'i'
left join pg_index as index on index.indexrelid = relation.oid
where index.indexrelid is null or not index.indisvalid
union all
select
    wanted.name,
    case when relation.oid is null then 'table_missing' else 'table_unguarded' end as fault
from unnest(%(tables)s::text[]) as wanted (name)
left join pg_class as relation
    on relation.relname = wanted.name
    and relation.relnamespace = 'public'::regnamespace
    and relation.relkind in ('r', 'p')
where relation.oid is null or not relation.relrowsecurity or not relation.relforcerowsecurity
order by fault, name
