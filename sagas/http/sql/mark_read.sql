-- mark_read: mark one notification of the caller as read; false if he has none of that id.
-- index: notifications_pkey (id)
-- why: clients write nothing themselves; the function writes one column of an own row (NTF-3).
select mark_notification_read(%(id)s)
