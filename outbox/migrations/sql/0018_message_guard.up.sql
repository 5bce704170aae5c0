-- 0018_message_guard: what is waited for keeps its message by a check of each delete, not of each publish.
-- locks: message and delivery, exclusively for a moment.
-- yesterday's code: runs.
set local lock_timeout = '5s';

-- A foreign key asks at each insert, by a query and a lock of the message's row, whether a message is there that
-- the same transaction has just inserted: a third of what publishing cost the server. Whoever makes a delivery of an
-- older message holds that message (backfill), or its letter or parked row (redrive, adoption), which keep their keys.
create function outbox.keep_waited_for() returns trigger language plpgsql as $$
begin
    -- a snapshot of the transaction's beginning would hide a delivery that was committed since
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'messages are deleted in a transaction that is read committed' using errcode = '25001';
    end if;
    -- a limit in a lateral query cannot be turned into a join that reads all deliveries
    if exists (
        select from gone as g
        cross join lateral (select from outbox.delivery as d where d.message_id = g.id limit 1) as waiting
    ) then
        raise exception 'a delivery waits for a message that this statement deletes'
            using errcode = '23503', schema = 'outbox', table = 'message', constraint = 'message_waited_for';
    end if;
    return null;
end;
$$;
create trigger message_waited_for after delete on outbox.message referencing old table as gone
for each statement execute function outbox.keep_waited_for();

-- squawk-ignore ban-drop-constraint
alter table outbox.delivery drop constraint delivery_message_fk;
