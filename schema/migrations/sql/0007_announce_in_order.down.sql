-- 0007_announce_in_order: publish visibility.changed under its version again.
-- locks: none but the function's own catalogue row.
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
            key => 'mentor:' || mentor,
            sequence => version
        );
    end if;
end
$$;
