-- role_holders: the coordinators and chapter admins of an organisation.
-- index: none (the people who hold a role are few; the whole list serves three steps of the chain)
-- why: a coordinator without chapter counts for the organisation only.
select user_id, chapter_id, role
from user_roles
where organisation_id = %(organisation_id)s
    and active
    and role in ('coordinator', 'chapter_admin')
