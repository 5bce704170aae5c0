-- open_alerts: alerts nobody has resolved, by type and text.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: what the dashboard shows.
select type, text, severity, count(*) as alerts
from dashboard_alerts
where resolved_at is null
group by type, text, severity
order by type
