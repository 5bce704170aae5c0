-- 0009_compatibility: which code may still run on this schema, written where that code can read it.
-- locks: none that matter; the table is new.
-- yesterday's code: runs; it does not ask, and refuses to start on a schema it does not know.
set local lock_timeout = '5s';

-- One row per schema history, named as its version table. A revision that breaks older code raises it, in its
-- own transaction; a relay runs if it knows the revision named here.
create table outbox.compatibility (
    history text not null,
    compatible_from text not null,
    constraint compatibility_pk primary key (history)
);
insert into outbox.compatibility (history, compatible_from) values ('outbox.revision', '0008');
