-- editable_mentor: lock a mentor's row if the caller may edit it; no row if he may not.
-- index: peer_mentors_pkey (id)
-- why: a locking read obeys the policies of select and of update, so that row-level security says
--      who may (VIS-2), and the row cannot change before the deed.
select m.id, m.organisation_id
from peer_mentors as m
where m.id = %(mentor_id)s
for no key update
