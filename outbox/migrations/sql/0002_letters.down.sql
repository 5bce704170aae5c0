-- 0002_letters, the way down: the audit of acts is lost; letters under a redrive stay letters.
set local lock_timeout = '5s';

drop table outbox.question;
drop table outbox.redrive;
drop index outbox.dead_letter_message_idx;
drop index outbox.dead_letter_died_idx;
alter table outbox.dead_letter drop column withdrawn_at, drop column redrive_id, drop column failure_group;
drop table outbox.operation;
drop function outbox.refuse_change();
