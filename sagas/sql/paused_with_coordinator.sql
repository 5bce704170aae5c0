-- paused_with_coordinator: mentors paused for a lapsed certificate, each with somebody who may follow up.
-- index: none, a story told about a few mentors
-- why: the demo shows what one coordinator sees of one mentor.
select m.id as mentor_id, r.user_id as coordinator_id
from peer_mentors as m
inner join organisations as o on o.id = m.organisation_id
inner join chapter_memberships as p on p.mentor_id = m.id and p.active
inner join user_roles as r on r.chapter_id = p.chapter_id and r.role = 'coordinator' and r.active
where m.status = 'paused'
    and m.pause_source = 'certificate_expired'
    and o.visibility_channel <> 'none'
    and r.user_id <> m.id
order by m.id, r.user_id
limit 1
