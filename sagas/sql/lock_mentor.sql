-- lock_mentor: take a mentor's row for one decision about his visibility.
-- index: peer_mentors_pkey (id)
-- why: two clicks at once are decided one after the other. Not `for update`: that would wait for
--      every foreign key that points at him.
select m.organisation_id, o.visibility_channel, m.visibility_version
from peer_mentors as m
inner join organisations as o on o.id = m.organisation_id
where m.id = %(mentor_id)s
for no key update of m
