-- 0016_switch_says_so, down: the switch is silent again where it shows nothing.
-- locks: none on a table; one function is replaced.
set local lock_timeout = '5s';

create or replace function private.note_widened_read(mentor uuid) returns boolean
language plpgsql volatile security definer set search_path = ''
as $$
begin
    if not exists (
        select
        from public.peer_mentors as m
        where m.id = mentor
            and m.organisation_id = any (array(select private.widened_organisations(auth.uid())))
    ) then
        return true;  -- nothing the switch could have shown
    end if;
    if current_setting('transaction_read_only') = 'on' then
        return false;
    end if;
    insert into public.widened_reads (
        mentor_id, actor_id, hour, first_read_at, organisation_id, actor_role, reason
    )
    select
        m.id, auth.uid(), date_trunc('hour', now(), 'UTC'), now(), m.organisation_id,
        coalesce(nullif(auth.jwt() ->> 'role', ''), current_setting('role')), f.reason
    from public.peer_mentors as m
    join public.feature_flags as f
        on f.organisation_id = m.organisation_id and f.flag = 'widen_coordinator_scope'
    where m.id = mentor
    on conflict on constraint widened_reads_once_an_hour do nothing;
    return true;
end
$$;
comment on function private.note_widened_read(uuid) is
    'True, and on record, if the switch shows this mentor to the caller; false if it cannot be written.';
