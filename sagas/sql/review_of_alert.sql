-- review_of_alert: what an alert is about and whose it is, and whether it is still open.
-- index: dashboard_alerts_pkey (id)
-- why: who may close it, and whether people close it at all, is asked before it is closed.
select type, subject, organisation_id, mentor_id, resolved_at is null as open
from dashboard_alerts
where id = %(alert_id)s
