-- 0002_notifications: remove what the way up created.
-- locks: access exclusive on these tables; the rows are gone afterwards, so take a copy first.
set local lock_timeout = '5s';

drop view public.fcm_push_queue;
drop view public.reminder_dispatch_log;
drop function public.mark_notification_read(uuid);
drop table public.notifications;
drop table public.cert_notification_log;
drop table public.notification_items;
drop table public.notification_groups;
drop table public.cert_expiry_reminders;
drop table public.feature_flags;
drop table public.notification_policies;
drop function app.strictly_descending(integer[]);
