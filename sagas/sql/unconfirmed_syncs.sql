-- unconfirmed_syncs: those of some mentors about whose way to the portal an alert is open.
-- index: peer_mentors_pkey (id); dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: an alert closed before its administrators were pushed is no news.
select mentor.id as mentor_id, mentor.organisation_id
from peer_mentors as mentor
inner join dashboard_alerts as alert
    on alert.type = 'dynamics_sync_pending'
    and alert.organisation_id = mentor.organisation_id
    and alert.subject = 'mentor:' || mentor.id::text
    and alert.resolved_at is null
where mentor.id = any (%(mentor_ids)s::uuid[])
