-- 0009_tell_status_changes: tell nobody of a pause or return made by hand.
-- locks: access exclusive on mentor_status_history while the trigger goes.
set local lock_timeout = '5s';

drop trigger mentor_status_history_told on public.mentor_status_history;
drop function private.status_changed();
