-- lock_dispatch: take one row of the notification log for a decision about its push.
-- index: cert_notification_log_pkey (id)
-- why: two clicks at once are decided one after the other, and the outcome written meanwhile waits.
--      The deliveries of its group are locked before it, as every settlement does.
select l.organisation_id, l.mentor_id, l.recipient_id, l.status, l.dispatch_group_id as group_id
from cert_notification_log as l
where l.id = %(log_id)s
for no key update
