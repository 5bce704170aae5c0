-- 0010_applications: which application a handler belongs to.
-- locks: outbox.destination, exclusively, for a change of the catalogue; claims and holds wait that long.
-- yesterday's code: runs on; it neither reads nor writes the column.
set local lock_timeout = '5s';

-- null: registered before this revision; the first application that registers the name takes it.
alter table outbox.destination add column application text;
