-- 0016_switch_says_so: where the emergency switch cannot show anything, the database says so (VIS-7).
-- locks: none on a table; one function is replaced.
-- yesterday's code: runs; the same rows are shown, and a warning comes beside them.
-- why: in a read-only transaction nothing can be written down, so the switch shows nothing there, and
--      whoever is told to use it saw an empty answer. A warning and not an error: an error would take
--      from him, as long as the switch is on, the people he may see without it. Once a transaction:
--      the policy asks for each row.
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
        if coalesce(current_setting('app.switch_is_mute', true), '') <> 'told' then
            perform set_config('app.switch_is_mute', 'told', true);
            raise warning 'the emergency switch shows nothing in a read-only transaction'
            using
                errcode = 'read_only_sql_transaction',
                detail = 'What it shows is written down first, and here nothing can be.',
                hint = 'Read in a transaction that may write: through outbox serve, or a function called with POST.';
        end if;
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
    'True, and on record, if the switch shows this mentor to the caller; false, and a warning, if it cannot be written.';
