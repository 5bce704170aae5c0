-- 0016_reason_codes: a reason is a code; a sentence may quote a name, an address or a secret.
-- locks: delivery, receipt, dead_letter and destination, exclusively; what waits and what is dead is read once.
--        Receipts from before are left as they are: nobody changes them.
-- yesterday's code: runs; a settlement of its handlers that gives a sentence is refused, and tried again by a
--                   relay of this version, which stores reason_unfit.
set local lock_timeout = '5s';

update outbox.delivery set last_reason = 'reason_unfit' where last_reason !~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$';

alter table outbox.delivery
add constraint delivery_last_reason_is_code check (last_reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid;

alter table outbox.receipt
add constraint receipt_reason_is_code check (reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid;

update outbox.dead_letter set reason = 'reason_unfit' where reason !~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$';

alter table outbox.dead_letter
add constraint dead_letter_reason_is_code check (reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid;

update outbox.destination set held_reason = 'reason_unfit' where held_reason !~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$';
update outbox.destination set circuit_reason = 'reason_unfit' where circuit_reason !~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$';
update outbox.destination set breaker_reason = 'reason_unfit' where breaker_reason !~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$';

alter table outbox.destination
add constraint destination_held_reason_is_code check (held_reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid,
add constraint destination_circuit_reason_is_code check (circuit_reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid,
add constraint destination_breaker_reason_is_code check (breaker_reason ~ '^([A-Za-z][A-Za-z0-9_.:-]{0,199})?$') not valid;
