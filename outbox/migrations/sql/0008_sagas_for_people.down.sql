-- 0008_sagas_for_people, back: people's acts are forgotten, since yesterday's timeline has no room for them.
-- locks: access exclusive on saga and saga_transition for a moment.
set local lock_timeout = '5s';

delete from outbox.saga_transition where message_id is null;
alter table outbox.saga_transition alter column message_id set not null;
alter table outbox.saga drop column parked_why;
