-- visible_mentor: whether the caller may know of a mentor.
-- index: peer_mentors_pkey (id)
-- why: who may see him and not act is refused; to all others he is not there.
select m.id
from peer_mentors as m
where m.id = %(mentor_id)s
