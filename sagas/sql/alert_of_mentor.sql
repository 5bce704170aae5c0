-- alert_of_mentor: the text of a mentor's open alert of one type.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: what his coordinator reads.
select text
from dashboard_alerts
where type = %(type)s and subject = 'mentor:' || %(mentor_id)s::text and resolved_at is null
