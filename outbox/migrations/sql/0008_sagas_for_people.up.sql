-- 0008_sagas_for_people: instances that ask for a person, and people's acts in the timeline.
-- locks: access exclusive on saga and saga_transition for a moment; nothing is rewritten.
-- yesterday's code: runs on it; it writes no parked_why, and every transition of it has a message.
set local lock_timeout = '5s';

alter table outbox.saga add column parked_why text;
-- yesterday's code writes it always and only shows what it reads
-- squawk-ignore ban-drop-not-null
alter table outbox.saga_transition alter column message_id drop not null;
