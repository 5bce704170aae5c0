-- release_reminders: give back claims that nobody could be told about.
-- index: cert_expiry_reminders_pkey (id)
-- why: a group that could not be built must not silence its reminders: the next run claims anew.
--      What reached another recipient's group stays claimed.
delete from cert_expiry_reminders as r
where r.id = any(%(reminder_ids)s::uuid[])
    and not exists (select from cert_notification_log as l where l.reminder_id = r.id)
returning r.id
