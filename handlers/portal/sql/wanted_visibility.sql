-- wanted_visibility: the state the portal should hold of each given mentor, as it is now.
-- index: peer_mentors_pkey (id); organisations_pkey (id)
-- why: read when the attempt begins, not when the message was published: an old message then sends
--      the newest state, and a receiver that compares versions takes it once. A mentor without any
--      recorded change says so with the reason of a reconciliation.
select
    mentor.id as mentor_id,
    organisation.code as organisation,
    organisation.visibility_channel as channel,
    mentor.visibility_version as version,
    app.visible(mentor.id, %(now)s) as visible,
    coalesce(mentor.visibility_reason, 'reconcile') as reason,
    coalesce(mentor.visibility_effective_at, mentor.visibility_changed_at, %(now)s) as effective_at,
    coalesce(mentor.visibility_changed_at, %(now)s) as changed_at
from public.peer_mentors as mentor
inner join public.organisations as organisation on organisation.id = mentor.organisation_id
where mentor.id = any(%(mentors)s::uuid[])
