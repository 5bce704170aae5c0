-- 0011_pauses, back: the audit takes no more pauses; those in it stay, so the check is not validated.
-- locks: operation, exclusively for a moment.
set local lock_timeout = '5s';

alter table outbox.operation drop constraint operation_action_known;
alter table outbox.operation add constraint operation_action_known check (
    action in ('redrive', 'dismiss', 'resolve', 'resend', 'make_due')
) not valid;
