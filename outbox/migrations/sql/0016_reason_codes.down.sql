-- 0016_reason_codes, back: anything is taken for a reason.
-- locks: delivery, receipt, dead_letter and destination, exclusively for a moment.
set local lock_timeout = '5s';

alter table outbox.delivery
drop constraint delivery_last_reason_is_code;

alter table outbox.receipt
drop constraint receipt_reason_is_code;

alter table outbox.dead_letter
drop constraint dead_letter_reason_is_code;

alter table outbox.destination
drop constraint destination_held_reason_is_code,
drop constraint destination_circuit_reason_is_code,
drop constraint destination_breaker_reason_is_code;
