-- due_activities: one page of the activities a rule may fire for, and what is known around each.
-- index: activities_anchor_idx (mentor_id, occurred_at);
--      prompt_history_once_per_activity (user_id, scenario_id, activity_ref)
-- why: the days bound what is read, sagas.prompt_rules decides. A contact is the same person where
--      contact_ref says so; where the app tells none, a mentor's contacts count as one.
select
    a.id as activity_id,
    a.mentor_id,
    a.kind,
    a.occurred_at,
    case jsonb_typeof(a.flags) when 'object' then a.flags else '{}' end as flags,
    exists (
        select
        from activities as later
        where later.mentor_id = a.mentor_id
            and later.occurred_at between a.occurred_at and %(now)s
            and later.kind = 'follow_up_registered'
            and later.contact_ref is not distinct from a.contact_ref
    ) as followed_up,
    exists (
        select
        from activities as later
        where later.mentor_id = a.mentor_id
            and later.occurred_at between a.occurred_at and %(now)s
            and (later.occurred_at, later.id) > (a.occurred_at, a.id)
            and later.kind = any (%(contacts)s)
            and later.contact_ref is not distinct from a.contact_ref
    ) as overtaken,
    m.status as mentor_status,
    told.id as prompt_id,
    told.status as prompt_status
from peer_mentors as m
inner join activities as a
    on a.mentor_id = m.id and a.occurred_at >= %(first)s and a.occurred_at < %(last)s
left join prompt_history as told
    on told.user_id = m.id
    and told.scenario_id = %(scenario_id)s
    and told.activity_ref = a.id::text
where m.organisation_id = %(organisation_id)s
    and a.kind = any (%(kinds)s)
    and (a.mentor_id, a.id) > (%(after_mentor)s, %(after_activity)s)
order by a.mentor_id, a.id
limit %(limit)s
