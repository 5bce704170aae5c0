-- 0018_message_guard, back: a foreign key from each delivery to its message.
-- locks: message and delivery, exclusively for a moment; then delivery is read once, beside all work.
set local lock_timeout = '5s';

alter table outbox.delivery
add constraint delivery_message_fk foreign key (message_id) references outbox.message (id) not valid;

drop trigger message_waited_for on outbox.message;
drop function outbox.keep_waited_for();
