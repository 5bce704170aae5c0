-- mark_raised: remember the day on which one mentor's version was raised above the portal's.
-- index: portal_sync_state_pkey (mentor_id)
-- why: once per mentor and day, also across restarts and processes.
insert into public.portal_sync_state (mentor_id, raised_on)
values (%(mentor_id)s, %(today)s)
on conflict (mentor_id) do update set raised_on = excluded.raised_on
