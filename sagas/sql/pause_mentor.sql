-- pause_mentor: pause a mentor by hand; nothing changes if he is not active.
-- index: peer_mentors_pkey (id)
-- why: state, version, history and the portal's message are one, in the function all pauses share
--      (PAU-2, PAU-10).
select p.changed, p.version, null::text as refused
from app.pause_mentor(%(mentor_id)s, %(actor_id)s, %(reason)s, %(now)s) as p
