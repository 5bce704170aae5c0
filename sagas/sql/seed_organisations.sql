-- seed_organisations: sow organisations.
-- index: organisations_pkey (id)
-- why: one statement for all rows.
insert into organisations (id, code, name, visibility_channel)
select * from unnest(%(c0)s::uuid[], %(c1)s::text[], %(c2)s::text[], %(c3)s::text[])
