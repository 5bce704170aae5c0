-- seed_memberships: sow memberships of chapters.
-- index: chapter_memberships_once_per_chapter (mentor_id, chapter_id)
-- why: one statement for all rows.
insert into chapter_memberships (mentor_id, chapter_id)
select * from unnest(%(c0)s::uuid[], %(c1)s::uuid[])
