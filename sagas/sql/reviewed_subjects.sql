-- reviewed_subjects: what a person has looked at already, of one organisation.
-- index: dashboard_alerts_organisation_idx (organisation_id, opened_at desc)
-- why: the rows that were found twice stay, and the next report finds them again; what was reviewed
--      is told there as such and opens no second alert.
select distinct subject
from dashboard_alerts
where organisation_id = %(organisation_id)s
    and type = any(%(types)s::text[])
    and resolved_by is not null
