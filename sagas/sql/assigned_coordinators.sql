-- assigned_coordinators: the people assigned to these mentors who still hold a role.
-- index: assignments_once_per_coordinator (mentor_id, coordinator_id)
-- why: rights come from tables: an assignment to somebody without an active role names nobody.
select a.mentor_id, a.coordinator_id
from assignments as a
where a.mentor_id = any(%(mentor_ids)s::uuid[])
    and a.active
    and exists (
        select
        from user_roles as r
        where r.user_id = a.coordinator_id
            and r.organisation_id = %(organisation_id)s
            and r.active
            and r.role in ('coordinator', 'chapter_admin', 'org_admin', 'hlf_admin')
    )
