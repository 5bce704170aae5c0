-- 0009_tell_status_changes: publish mentor.status_changed for a pause or return nobody else tells.
-- locks: share row exclusive on mentor_status_history while the trigger is made.
-- yesterday's code: runs; nobody takes the topic, so its messages are parked until today's code does.
-- why: coordinators are told of every pause and every return (PAU-9, PAU-10), whichever way it was
--      made: a function, a status edited in place, a renewed certificate. All of them write history,
--      so the message is written with it. What the sweep pauses it tells itself, as one digest
--      (GRP-6), and who has left is told to nobody.
set local lock_timeout = '5s';

create function private.status_changed() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    perform outbox.publish(
        'mentor.status_changed',
        jsonb_build_object('mentor_id', new.mentor_id, 'change_id', new.id)
    );
    return null;
end
$$;

create trigger mentor_status_history_told after insert on public.mentor_status_history
for each row when (
    new.source in ('manual', 'certificate_renewed') and new.to_status in ('active', 'paused')
)
execute function private.status_changed();
