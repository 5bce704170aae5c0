-- reactivate_mentor: end a pause by hand, or the word for why not.
-- index: peer_mentors_pkey (id)
-- why: as in pause_mentor; the function also guards the pause of a lapsed certificate (VIS-6).
select r.changed, r.version, r.refused
from app.reactivate_mentor(%(mentor_id)s, %(actor_id)s, %(reason)s, %(now)s) as r
