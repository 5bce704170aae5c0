-- mentors_of_others: which of some mentors another organisation on the same portal answers for.
-- index: peer_mentors_pkey (id); organisations_pkey (id)
-- why: a portal lists everybody it holds, whichever organisation he is of. Whoever belongs to one
--      without a portal, or on another, is answered for by nobody there, and is reported.
select m.id
from peer_mentors as m
inner join organisations as o on o.id = m.organisation_id
where m.id = any(%(mentor_ids)s::uuid[])
    and o.id <> %(organisation_id)s
    and o.visibility_channel = %(channel)s
