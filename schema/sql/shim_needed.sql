-- shim_needed: whether this database lacks the roles or functions that the migrations name.
-- index: none, a look at the catalogue
-- why: asked of the catalogue, since a lookup by name fails where the schema may not be used.
select to_regrole('service_role') is null or not exists (
    select
    from pg_proc as p
    inner join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = 'auth' and p.proname = 'uid'
)
