-- lock_standing: lock one mentor and read what decides whether his version may be raised.
-- index: peer_mentors_pkey (id); portal_sync_state_pkey (mentor_id); organisations_pkey (id)
-- why: the version counts under the mentor's lock, so the decision and the raise are one step.
select
    mentor.organisation_id,
    mentor.visibility_version as version,
    state.raised_on,
    app.local_date(%(now)s, organisation.timezone) as today
from public.peer_mentors as mentor
inner join public.organisations as organisation on organisation.id = mentor.organisation_id
left join public.portal_sync_state as state on state.mentor_id = mentor.id
where mentor.id = %(mentor_id)s
for no key update of mentor
