-- 0007_announce_in_order: publish visibility.changed without a sequence.
-- locks: none but the function's own catalogue row.
-- yesterday's code: runs; what waits under a sequence is older than what follows under an id, as long
--      as versions are below message ids, and whatever is sent is the state of that moment.
-- why: a sequence is the position of a message for each of its handlers. The saga hears reports and
--      timers too, whose position is their id: once a version had passed the ids (the portal was
--      ahead of a young database) a change was heard after the report that confirmed it, and watched
--      for ever. Ids serve: the caller holds the mentor's row, so they are in the order of versions.
set local lock_timeout = '5s';

create or replace function private.announce(mentor uuid, version bigint) returns void
language plpgsql security definer set search_path = ''
as $$
begin
    -- PAU-11: without a channel the change is ours alone
    if exists (
        select
        from public.peer_mentors as m
        join public.organisations as o on o.id = m.organisation_id
        where m.id = announce.mentor and o.visibility_channel <> 'none'
    ) then
        perform outbox.publish(
            'visibility.changed',
            jsonb_build_object('mentor_id', mentor, 'version', version),
            key => 'mentor:' || mentor
        );
    end if;
end
$$;
