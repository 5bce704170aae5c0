-- review_of_alert: whose alert it is, and whether it still waits for a review.
-- index: dashboard_alerts_pkey (id)
-- why: rights are asked for in the organisation it belongs to.
select organisation_id, mentor_id, resolved_at is null as open
from dashboard_alerts
where id = %(alert_id)s and type = any(%(types)s::text[]) and organisation_id is not null
