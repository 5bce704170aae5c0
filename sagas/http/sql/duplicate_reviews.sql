-- duplicate_reviews: the open reviews of duplicates, by the subject of each.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject) where resolved_at is null
-- why: each hit is to be looked at by a person within 24 hours (RCN-7).
select a.organisation_id, a.subject, a.opened_at, a.due_at, a.severity
from dashboard_alerts as a
where a.type = 'duplicate_log_entries' and a.resolved_at is null
