-- seed_chapters: sow chapters.
-- index: chapters_pkey (id)
-- why: one statement for all rows.
insert into chapters (id, organisation_id, name)
select * from unnest(%(c0)s::uuid[], %(c1)s::uuid[], %(c2)s::text[])
