-- alerts_open: alerts that nobody and nothing has closed, the most severe first, then the oldest.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: what an operator asks for; those that belong to no organisation are among them, unless one
--      organisation is asked for. How many there are is said with the first page.
select
    a.id as alert_id, o.code as organisation, a.type, a.mentor_id, a.subject, a.severity, a.hint,
    a.opened_at, a.due_at, count(*) over () as of
from dashboard_alerts as a
left join organisations as o on o.id = a.organisation_id
where a.resolved_at is null
    and (%(organisation_id)s::uuid is null or a.organisation_id = %(organisation_id)s)
order by array_position(array['critical', 'warning', 'info'], a.severity), a.opened_at, a.id
limit %(limit)s
