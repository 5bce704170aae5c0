-- actor_role: in which role an actor may follow up a mentor's sync, the widest first; none: no row.
-- index: user_roles_user_idx (user_id)
-- why: rights come from tables, never from token claims, so a revocation works at once. Being the
--      mentor himself gives no right.
select held.role
from (
    select r.role,
        case r.role
            when 'hlf_admin' then r.organisation_id = m.organisation_id
            when 'org_admin' then r.organisation_id = m.organisation_id
            when 'chapter_admin' then places.chapter_id is not null
            when 'coordinator' then places.chapter_id is not null or a.mentor_id is not null
            else false
        end as reaches
    from user_roles as r
    cross join peer_mentors as m
    left join chapter_memberships as places
        on places.mentor_id = m.id and places.chapter_id = r.chapter_id and places.active
    left join assignments as a
        on a.mentor_id = m.id and a.coordinator_id = r.user_id and a.active
    where r.user_id = %(actor_id)s and r.active and m.id = %(mentor_id)s
) as held
where held.reaches
order by array_position(array['hlf_admin', 'org_admin', 'chapter_admin', 'coordinator'], held.role)
limit 1
