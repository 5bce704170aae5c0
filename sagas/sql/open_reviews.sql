-- open_reviews: alerts of some types that wait for somebody to look, the first due first.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject) where resolved_at is null
-- why: a person closes them with a note; overdue is what nobody looked at in time.
select
    a.id as alert_id, o.code as organisation, a.type, a.mentor_id, a.subject, a.severity,
    a.opened_at, a.due_at, coalesce(a.due_at < %(now)s, false) as overdue
from dashboard_alerts as a
inner join organisations as o on o.id = a.organisation_id
where a.type = any(%(types)s::text[])
    and a.resolved_at is null
    and (%(organisation_id)s::uuid is null or a.organisation_id = %(organisation_id)s)
order by a.due_at, a.id
