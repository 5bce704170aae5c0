-- standing_of_mentor: a mentor's status and version, and the organisation he belongs to.
-- index: peer_mentors_pkey (id)
-- why: who is told of a change, in which zone and language, hangs on the organisation.
select
    m.status, m.visibility_version,
    o.id, o.code, o.timezone, o.go_live_date, o.visibility_channel
from peer_mentors as m
inner join organisations as o on o.id = m.organisation_id
where m.id = %(mentor_id)s
