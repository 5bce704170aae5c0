-- note_missing_coordinators: open a finding per mentor without coordinator, or see it again.
-- index: data_quality_findings_one_open_per_subject (kind, subject) where resolved_at is null
-- why: admins see since when and which step of the chain stood in; the nightly look closes it.
--      In one order, so that two who note the same mentors wait for each other and not in a circle.
insert into data_quality_findings (
    kind, organisation_id, mentor_id, subject, step, found_at, last_seen_at
)
select
    'missing_coordinator', %(organisation_id)s, wanted.mentor_id, wanted.mentor_id::text,
    wanted.step, %(now)s, %(now)s
from unnest(%(mentor_ids)s::uuid[], %(steps)s::integer[]) as wanted (mentor_id, step)
order by wanted.mentor_id
on conflict (kind, subject) where resolved_at is null
do update set last_seen_at = excluded.last_seen_at, step = excluded.step
