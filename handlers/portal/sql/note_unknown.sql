-- note_unknown: open a finding for each mentor the portal does not know, or see it again.
-- index: data_quality_findings_one_open_per_subject (kind, subject) where resolved_at is null;
--      peer_mentors_pkey (id)
-- why: the answer ends the delivery, and only people can mend it, here or there. Who is not to be
--      shown is missed by nobody. The nightly look closes it. In one order, so that two who note the
--      same mentors wait for each other and not in a circle.
insert into public.data_quality_findings (
    kind, organisation_id, mentor_id, subject, found_at, last_seen_at
)
select 'unknown_at_portal', mentor.organisation_id, mentor.id, mentor.id::text, answered.at, answered.at
from unnest(%(mentors)s::uuid[], %(ats)s::timestamptz[]) as answered (mentor_id, at)
inner join public.peer_mentors as mentor on mentor.id = answered.mentor_id
where app.visible(mentor.id, answered.at)
order by mentor.id
on conflict (kind, subject) where resolved_at is null
do update set last_seen_at = greatest(data_quality_findings.last_seen_at, excluded.last_seen_at)
