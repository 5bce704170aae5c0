-- widest_role: the widest role an actor holds anywhere; none: no row.
-- index: user_roles_user_idx (user_id)
-- why: what concerns no single mentor (all dead letters) is for administrators.
select r.role
from user_roles as r
where r.user_id = %(actor_id)s and r.active
order by array_position(array['hlf_admin', 'org_admin', 'chapter_admin', 'coordinator', 'peer_mentor'], r.role)
limit 1
