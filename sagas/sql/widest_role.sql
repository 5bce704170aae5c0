-- widest_role: the widest role an actor holds, in one organisation or anywhere; none: no row.
-- index: user_roles_user_idx (user_id)
-- why: what concerns no single mentor is for administrators: of its organisation, or of all.
select r.role
from user_roles as r
where r.user_id = %(actor_id)s
    and r.active
    and (%(organisation_id)s::uuid is null or r.organisation_id = %(organisation_id)s)
order by array_position(array['hlf_admin', 'org_admin', 'chapter_admin', 'coordinator', 'peer_mentor'], r.role)
limit 1
