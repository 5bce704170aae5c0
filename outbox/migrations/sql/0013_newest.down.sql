-- 0013_newest, undone: an old letter that is redriven is sent again.
-- locks: a moment's exclusive lock on the table.
set local lock_timeout = '5s';

drop table outbox.newest;
