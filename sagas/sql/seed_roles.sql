-- seed_roles: sow roles.
-- index: user_roles_pkey (id)
-- why: one statement for all rows.
insert into user_roles (user_id, organisation_id, chapter_id, role)
select * from unnest(%(c0)s::uuid[], %(c1)s::uuid[], %(c2)s::uuid[], %(c3)s::text[])
