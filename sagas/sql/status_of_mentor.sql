-- status_of_mentor: whether a mentor is active or paused, and his visibility's version.
-- index: peer_mentors_pkey (id)
-- why: what his own page shows.
select status, visibility_version
from peer_mentors
where id = %(mentor_id)s
