-- find_dispatch: one row of the notification log as it stands, locked by nobody.
-- index: cert_notification_log_pkey (id)
-- why: says whose push it is, so that its deliveries can be locked before the row is.
select l.organisation_id, l.mentor_id, l.recipient_id, l.status, l.dispatch_group_id as group_id
from cert_notification_log as l
where l.id = %(log_id)s
