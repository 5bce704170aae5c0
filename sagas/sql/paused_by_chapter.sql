-- paused_by_chapter: how many mentors of each chapter a lapsed certificate has paused.
-- index: none, a count for a story
-- why: the demo tells who was paused without naming anybody; who belongs to two chapters is told in both.
select o.code || ' ' || c.name as place, count(*) as paused
from peer_mentors as m
inner join chapter_memberships as p on p.mentor_id = m.id and p.active
inner join chapters as c on c.id = p.chapter_id
inner join organisations as o on o.id = c.organisation_id
where m.status = 'paused' and m.pause_source = 'certificate_expired'
group by o.code, c.name
order by o.code, c.name
