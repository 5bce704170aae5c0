-- 0003_visibility: who is visible, who is paused, and the message that tells the portal.
-- locks: share row exclusive on peer_mentors, certifications and organisations for triggers and
--      foreign keys; row locks on each mentor with a certificate while the dates are computed.
-- yesterday's code: runs; its writes to certifications now keep the mentor's dates current (PAU-8).
-- why: a mentor's row is always locked `for no key update` before certificates are read, in id
--      order, so that a renewal and a pause of the same mentor see each other (PAU-2). The lock is
--      not `for update`: that would wait for the key share lock of a certificate's foreign key.
set local lock_timeout = '5s';

create table public.portal_sync_state (
    mentor_id uuid constraint portal_sync_state_pkey primary key
        constraint portal_sync_state_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    accepted_version bigint,
    accepted_at timestamptz,
    acked_version bigint not null default 0,
    acked_visible boolean,
    acked_at timestamptz,
    observed_version bigint,
    observed_visible boolean,
    observed_published boolean,
    observed_at timestamptz,
    attempts integer not null default 0
        constraint portal_sync_state_attempts_is_not_negative check (attempts >= 0),
    last_attempt_at timestamptz,
    last_code text,
    last_request_id text,
    raised_on date
);

create table public.mentor_status_history (
    id bigint generated always as identity constraint mentor_status_history_pkey primary key,
    mentor_id uuid not null constraint mentor_status_history_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    organisation_id uuid not null,
    from_status text not null,
    to_status text not null,
    source text not null constraint mentor_status_history_source_is_known check (source in (
        'manual', 'certificate_expired', 'certificate_renewed', 'offboarded', 'correction'
    )),
    certification_id uuid,
    certification_expiry_date date,
    reason text,
    actor_id uuid,
    run_id uuid,
    visibility_version bigint not null,
    at timestamptz not null,
    constraint mentor_status_history_status_changes check (from_status <> to_status)
);
create unique index mentor_status_history_one_automatic_pause_per_period
    on public.mentor_status_history (mentor_id, certification_id, certification_expiry_date)
    where source = 'certificate_expired' and to_status = 'paused';
create index mentor_status_history_mentor_idx on public.mentor_status_history (mentor_id, at);
create index mentor_status_history_run_idx on public.mentor_status_history (run_id);

-- Time -------------------------------------------------------------------------------------------

create function app.instant(given timestamptz default null) returns timestamptz
language sql stable parallel safe set search_path = ''
as $$
    select coalesce(given, nullif(current_setting('app.now', true), '')::timestamptz, now())
$$;
comment on function app.instant(timestamptz) is
    'The given time, else the one injected as app.now for this transaction, else the clock''s.';

create function app.local_date(instant timestamptz, zone text) returns date
language sql stable strict parallel safe set search_path = ''
as $$
    select (instant at time zone zone)::date
$$;

-- Certificates -----------------------------------------------------------------------------------

create function app.counted_certificates(mentors uuid[])
returns table (
    mentor_id uuid,
    certification_id uuid,
    certificate_type text,
    expiry_date date,
    required boolean
)
language sql stable security definer set search_path = ''
as $$
    select distinct on (held.mentor_id, held.certificate_type)
        held.mentor_id, held.id, held.certificate_type, held.expiry_date, held.required
    from public.certifications as held
    where held.mentor_id = any (mentors)
        and held.revoked_at is null
        and held.expiry_date is not null
    order by
        held.mentor_id, held.certificate_type, held.expiry_date desc,
        held.issued_on desc nulls last, held.id
$$;
comment on function app.counted_certificates(uuid[]) is
    'The one certificate per mentor and type that counts: not revoked, latest expiry (ELG-1).';

create function private.deciding_certificates(mentors uuid[])
returns table (
    mentor_id uuid,
    certification_id uuid,
    certificate_type text,
    expiry_date date
)
language sql stable security definer set search_path = ''
as $$
    select distinct on (counted.mentor_id)
        counted.mentor_id, counted.certification_id, counted.certificate_type, counted.expiry_date
    from app.counted_certificates(mentors) as counted
    where counted.required
    order by counted.mentor_id, counted.expiry_date, counted.certification_id
$$;
comment on function private.deciding_certificates(uuid[]) is
    'Per mentor the required certificate that lapses first: its date decides pause and visibility.';

-- Visibility -------------------------------------------------------------------------------------

create function private.is_listed(
    status text, suppression_status text, visible_until timestamptz, instant timestamptz
) returns boolean
language sql immutable parallel safe set search_path = ''
as $$
    select status = 'active'
        and suppression_status = 'none'
        and (visible_until is null or visible_until > instant)
$$;
comment on function private.is_listed(text, text, timestamptz, timestamptz) is 'VIS-1.';

create function app.visible(mentor uuid, now timestamptz default null) returns boolean
language sql stable security definer set search_path = ''
as $$
    select private.is_listed(m.status, m.suppression_status, m.visible_until, app.instant(visible.now))
    from public.peer_mentors as m
    where m.id = visible.mentor
$$;

create function private.announce(mentor uuid, version bigint) returns void
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
comment on function private.announce(uuid, bigint) is
    'Publishes the version just counted; the caller holds the lock on the mentor''s row (SYN-2).';

create function private.change_mentor(
    mentor uuid,
    to_status text,
    to_suppression text,
    visibility_code text,
    source text,
    effective_at timestamptz,
    instant timestamptz,
    actor uuid default null,
    run uuid default null,
    reason text default null,
    certification uuid default null,
    expiry date default null
) returns bigint
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    from_status text;
    of_organisation uuid;
    counted bigint;
begin
    select m.status, m.organisation_id into strict from_status, of_organisation
    from public.peer_mentors as m
    where m.id = change_mentor.mentor;

    update public.peer_mentors as m
    set status = to_status,
        paused_at = case
            when to_status <> 'paused' then null
            when m.status = 'paused' then m.paused_at
            else change_mentor.instant
        end,
        pause_source = case
            when to_status <> 'paused' then null
            when m.status = 'paused' then m.pause_source
            when change_mentor.source = 'certificate_expired' then 'certificate_expired'
            else 'manual'
        end,
        pause_reason = case
            when to_status <> 'paused' then null
            when m.status = 'paused' then m.pause_reason
            else change_mentor.reason
        end,
        suppression_status = to_suppression,
        visibility_version = m.visibility_version + 1,
        visibility_changed_at = change_mentor.instant,
        visibility_effective_at = change_mentor.effective_at,
        visibility_reason = visibility_code
    where m.id = change_mentor.mentor
    returning m.visibility_version into counted;

    if from_status <> to_status then
        perform private.record_transition(
            mentor, of_organisation, from_status, to_status, change_mentor.source, counted,
            change_mentor.instant, actor, run, change_mentor.reason, certification, expiry
        );
    end if;
    perform private.announce(mentor, counted);
    return counted;
end
$$;
comment on function private.change_mentor is
    'Changes a mentor whose row the caller has locked: state, version, history and message as one.';

create function private.record_transition(
    mentor uuid,
    organisation uuid,
    from_status text,
    to_status text,
    source text,
    version bigint,
    instant timestamptz,
    actor uuid default null,
    run uuid default null,
    reason text default null,
    certification uuid default null,
    expiry date default null
) returns void
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
    insert into public.mentor_status_history (
        mentor_id, organisation_id, from_status, to_status, source, certification_id,
        certification_expiry_date, reason, actor_id, run_id, visibility_version, at
    )
    values (
        mentor, organisation, from_status, to_status, source, certification,
        expiry, reason, actor, run, version, instant
    )
    on conflict (mentor_id, certification_id, certification_expiry_date)
        where source = 'certificate_expired' and to_status = 'paused'
        do nothing;
    if not found then
        -- the date was put right and then back: the same period lapses again, and is told apart
        perform private.record_transition(
            mentor, organisation, from_status, to_status, 'correction', version,
            instant, actor, run, reason, certification, expiry
        );
    end if;
end
$$;

-- Automatic pause (PAU-1 to PAU-3) ---------------------------------------------------------------

create function private.pause_lapsed(mentors uuid[], run uuid, instant timestamptz)
returns table (
    mentor_id uuid,
    certification_id uuid,
    certificate_type text,
    certification_expiry_date date,
    version bigint
)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    lapsed record;
begin
    perform
    from public.peer_mentors as m
    where m.id = any (mentors)
    order by m.id
    for no key update;

    -- a new statement, a new snapshot: it sees what those who held the locks have committed
    for lapsed in
        select
            m.id, m.suppression_status, decides.certification_id, decides.certificate_type,
            decides.expiry_date,
            (decides.expiry_date + 1)::timestamp at time zone o.timezone as since
        from public.peer_mentors as m
        join public.organisations as o on o.id = m.organisation_id
        join private.deciding_certificates(mentors) as decides on decides.mentor_id = m.id
        where m.id = any (mentors)
            and m.status = 'active'
            and decides.expiry_date < app.local_date(pause_lapsed.instant, o.timezone)
        order by m.id
    loop
        mentor_id := lapsed.id;
        certification_id := lapsed.certification_id;
        certificate_type := lapsed.certificate_type;
        certification_expiry_date := lapsed.expiry_date;
        version := private.change_mentor(
            lapsed.id,
            to_status => 'paused',
            to_suppression => case lapsed.suppression_status
                when 'none' then 'certificate_expired' else lapsed.suppression_status
            end,
            visibility_code => 'certificate_lapsed',
            source => 'certificate_expired',
            effective_at => lapsed.since,
            instant => instant,
            run => run,
            reason => 'certificate_expired',
            certification => lapsed.certification_id,
            expiry => lapsed.expiry_date
        );
        return next;
    end loop;
end
$$;

create function app.pause_lapsed_mentor(
    mentor uuid, run uuid default null, now timestamptz default null
) returns table (changed boolean, version bigint)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
    select paused.version into version
    from private.pause_lapsed(array[mentor], run, app.instant(pause_lapsed_mentor.now)) as paused;
    changed := found;
    if not changed then
        select m.visibility_version into version
        from public.peer_mentors as m
        where m.id = mentor;
    end if;
    return next;
end
$$;
comment on function app.pause_lapsed_mentor(uuid, uuid, timestamptz) is
    'Pauses one mentor whose required certificate has lapsed; repeating it changes nothing (PAU-3).';

create function app.pause_lapsed_mentors(
    organisation uuid, run uuid default null, now timestamptz default null
) returns table (
    mentor_id uuid,
    certification_id uuid,
    certificate_type text,
    certification_expiry_date date,
    version bigint
)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    instant constant timestamptz := app.instant(pause_lapsed_mentors.now);
    today date;
    candidates uuid[];
begin
    select app.local_date(instant, o.timezone) into today
    from public.organisations as o
    where o.id = organisation;

    select array_agg(locked.id) into candidates
    from (
        select m.id
        from public.peer_mentors as m
        where m.organisation_id = organisation
            and m.certification_expiry_date < today
            and (m.status = 'active' or m.status = 'paused' and m.suppression_status = 'none')
        order by m.id
        for no key update
    ) as locked;

    -- the paused are hidden already; the flag keeps them so when a pause by hand is lifted
    update public.peer_mentors as m
    set suppression_status = 'certificate_expired'
    where m.id = any (candidates) and m.status = 'paused';

    return query
    select paused.*
    from private.pause_lapsed(candidates, run, instant) as paused;
end
$$;
comment on function app.pause_lapsed_mentors(uuid, uuid, timestamptz) is
    'Pauses every mentor of an organisation whose required certificate has lapsed, in id order.';

-- By hand (PAU-10) -------------------------------------------------------------------------------

create function app.pause_mentor(
    mentor uuid, actor uuid, reason text default null, now timestamptz default null
) returns table (changed boolean, version bigint)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    found_mentor record;
    instant constant timestamptz := app.instant(pause_mentor.now);
begin
    select m.status, m.suppression_status, m.visibility_version into found_mentor
    from public.peer_mentors as m
    where m.id = mentor
    for no key update;
    changed := found and found_mentor.status = 'active';
    version := found_mentor.visibility_version;
    if changed then
        version := private.change_mentor(
            mentor, 'paused', found_mentor.suppression_status, 'paused_manual', 'manual',
            instant, instant, actor => actor, reason => reason
        );
    end if;
    return next;
end
$$;

create function app.reactivate_mentor(
    mentor uuid, actor uuid, reason text default null, now timestamptz default null
) returns table (changed boolean, version bigint, refused text)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    found_mentor record;
    instant constant timestamptz := app.instant(reactivate_mentor.now);
begin
    select
        m.status, m.suppression_status, m.pause_source, m.visibility_version,
        m.visible_until <= instant as lapsed
    into found_mentor
    from public.peer_mentors as m
    where m.id = mentor
    for no key update;
    refused := case
        when not found then 'unknown_mentor'
        when found_mentor.status <> 'paused' then 'not_paused'
        when found_mentor.lapsed then 'certificate_lapsed'
        when found_mentor.pause_source = 'certificate_expired' and actor = mentor
            then 'own_certificate_pause'
    end;
    changed := refused is null;
    version := found_mentor.visibility_version;
    if changed then
        version := private.change_mentor(
            mentor,
            'active',
            case found_mentor.suppression_status
                when 'certificate_expired' then 'none' else found_mentor.suppression_status
            end,
            'reactivated', 'manual', instant, instant, actor => actor, reason => reason
        );
    end if;
    return next;
end
$$;
comment on function app.reactivate_mentor(uuid, uuid, text, timestamptz) is
    'Ends a pause. Refused while the certificate is lapsed, and to a mentor''s own lapse (VIS-6).';

create function app.offboard_mentor(
    mentor uuid, actor uuid, reason text default null, now timestamptz default null
) returns table (changed boolean, version bigint)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    found_mentor record;
    instant constant timestamptz := app.instant(offboard_mentor.now);
begin
    select m.status, m.suppression_status, m.visibility_version into found_mentor
    from public.peer_mentors as m
    where m.id = mentor
    for no key update;
    changed := found and found_mentor.status <> 'inactive';
    version := found_mentor.visibility_version;
    if changed then
        version := private.change_mentor(
            mentor, 'inactive', found_mentor.suppression_status, 'offboarded', 'offboarded',
            instant, instant, actor => actor, reason => reason
        );
    end if;
    return next;
end
$$;

create function app.bump_visibility(
    mentor uuid,
    at_least bigint default 0,
    reason text default 'force_sync',
    now timestamptz default null
) returns bigint
language plpgsql security definer set search_path = ''
as $$
declare
    counted bigint;
begin
    update public.peer_mentors as m
    set visibility_version = greatest(m.visibility_version, bump_visibility.at_least) + 1,
        visibility_changed_at = app.instant(bump_visibility.now),
        visibility_reason = bump_visibility.reason
    from public.organisations as o
    where m.id = bump_visibility.mentor
        and o.id = m.organisation_id
        and o.visibility_channel <> 'none'
    returning m.visibility_version into counted;
    if found then
        perform private.announce(mentor, counted);
    end if;
    return counted;
end
$$;
comment on function app.bump_visibility(uuid, bigint, text, timestamptz) is
    'Counts a new version above ours and `at_least` and publishes it; null without mentor or channel.';

-- Certificates change (PAU-8, PAU-9) -------------------------------------------------------------

create function private.refresh_mentors(mentors uuid[], instant timestamptz) returns void
language plpgsql security definer set search_path = ''
as $$
declare
    held record;
    lapsed boolean;
    valid boolean;
    suppression text;
    returns_now boolean;
begin
    perform
    from public.peer_mentors as m
    where m.id = any (mentors)
    order by m.id
    for no key update;

    for held in
        select
            m.id, m.status, m.pause_source, m.suppression_status, m.visible_until,
            o.auto_reactivate_on_renewal, decides.certification_id, decides.expiry_date,
            (decides.expiry_date + 1)::timestamp at time zone o.timezone as valid_until,
            app.local_date(refresh_mentors.instant, o.timezone) as today
        from public.peer_mentors as m
        join public.organisations as o on o.id = m.organisation_id
        left join private.deciding_certificates(mentors) as decides on decides.mentor_id = m.id
        where m.id = any (mentors)
        order by m.id
    loop
        -- without any certificate he is neither: reported, not paused, and not let back either
        lapsed := coalesce(held.expiry_date < held.today, false);
        valid := coalesce(held.expiry_date >= held.today, false);
        suppression := case
            when lapsed and held.suppression_status = 'none' then 'certificate_expired'
            when valid and held.suppression_status = 'certificate_expired' then 'none'
            else held.suppression_status
        end;
        returns_now := valid
            and held.status = 'paused'
            and held.pause_source = 'certificate_expired'
            and held.auto_reactivate_on_renewal;

        update public.peer_mentors
        set certification_expiry_date = held.expiry_date, visible_until = held.valid_until
        where id = held.id
            and (certification_expiry_date, visible_until)
                is distinct from (held.expiry_date, held.valid_until);

        if returns_now
            or private.is_listed(held.status, suppression, held.valid_until, instant)
                <> private.is_listed(held.status, held.suppression_status, held.visible_until, instant)
        then
            perform private.change_mentor(
                held.id,
                to_status => case when returns_now then 'active' else held.status end,
                to_suppression => suppression,
                visibility_code => case
                    when lapsed then 'certificate_lapsed' else 'certificate_renewed'
                end,
                source => 'certificate_renewed',
                effective_at => case when lapsed then held.valid_until else instant end,
                instant => instant,
                certification => held.certification_id,
                expiry => held.expiry_date
            );
        elsif suppression <> held.suppression_status then
            update public.peer_mentors set suppression_status = suppression where id = held.id;
        end if;
    end loop;
end
$$;
comment on function private.refresh_mentors(uuid[], timestamptz) is
    'Recomputes dates and suppression from the certificates and lets a renewed mentor return.';

create function private.certificates_changed() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    touched uuid[];
begin
    case tg_op
        when 'INSERT' then
            select array_agg(distinct mentor_id) into touched from added;
        when 'DELETE' then
            select array_agg(distinct mentor_id) into touched from removed;
        else
            select array_agg(distinct changed.mentor_id) into touched
            from (
                (
                    select id, mentor_id, certificate_type, issued_on, expiry_date, required, revoked_at
                    from added
                    except
                    select id, mentor_id, certificate_type, issued_on, expiry_date, required, revoked_at
                    from removed
                )
                union all
                (
                    select id, mentor_id, certificate_type, issued_on, expiry_date, required, revoked_at
                    from removed
                    except
                    select id, mentor_id, certificate_type, issued_on, expiry_date, required, revoked_at
                    from added
                )
            ) as changed;
    end case;
    if touched is not null then
        perform private.refresh_mentors(touched, app.instant());
    end if;
    return null;
end
$$;

-- per statement, so that an import locks its mentors once and in id order
create trigger certifications_added after insert on public.certifications
referencing new table as added
for each statement execute function private.certificates_changed();
create trigger certifications_changed after update on public.certifications
referencing old table as removed new table as added
for each statement execute function private.certificates_changed();
create trigger certifications_removed after delete on public.certifications
referencing old table as removed
for each statement execute function private.certificates_changed();

create function private.organisation_zone_is_known() returns trigger
language plpgsql set search_path = ''
as $$
begin
    perform now() at time zone new.timezone;
    return new;
end
$$;
create trigger organisations_zone_is_known before insert or update of timezone on public.organisations
for each row execute function private.organisation_zone_is_known();

create function private.organisation_zone_changed() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    perform private.refresh_mentors(
        array(select id from public.peer_mentors where organisation_id = new.id), app.instant()
    );
    return null;
end
$$;
create trigger organisations_zone_changed after update of timezone on public.organisations
for each row when (old.timezone is distinct from new.timezone)
execute function private.organisation_zone_changed();

-- A status edited in place (VIS-2) ---------------------------------------------------------------

create function private.mentor_edited() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    instant constant timestamptz := app.instant();
begin
    if new.visibility_version <> old.visibility_version then
        return new;  -- a function of this file counted the version and tells what follows
    end if;
    if new.status <> old.status then
        if new.status = 'paused' then
            new.paused_at := instant;
            new.pause_source := coalesce(new.pause_source, 'manual');
        else
            new.paused_at := null;
            new.pause_source := null;
            new.pause_reason := null;
        end if;
        if new.status = 'active'
            and new.suppression_status = 'certificate_expired'
            and new.visible_until > instant
        then
            new.suppression_status := 'none';
        end if;
    elsif private.is_listed(new.status, new.suppression_status, new.visible_until, instant)
        = private.is_listed(old.status, old.suppression_status, old.visible_until, instant)
    then
        return new;
    end if;
    new.visibility_version := old.visibility_version + 1;
    new.visibility_changed_at := instant;
    new.visibility_effective_at := instant;
    new.visibility_reason := case
        when new.status = 'inactive' then 'offboarded'
        when private.is_listed(new.status, new.suppression_status, new.visible_until, instant)
            or new.status <> old.status and new.status = 'active' then 'reactivated'
        else 'paused_manual'
    end;
    if new.status <> old.status then
        perform private.record_transition(
            new.id, new.organisation_id, old.status, new.status,
            case new.status when 'inactive' then 'offboarded' else 'manual' end,
            new.visibility_version, instant, actor => auth.uid(), reason => new.pause_reason
        );
    end if;
    perform private.announce(new.id, new.visibility_version);
    return new;
end
$$;
create trigger peer_mentors_20_edited
before update of status, suppression_status on public.peer_mentors
for each row execute function private.mentor_edited();

create view public.visibility_sync_events with (security_invoker = true) as
select
    m.id as mentor_id,
    m.visibility_version as version,
    m.status = 'active'
        and m.suppression_status = 'none'
        and (m.visible_until is null or m.visible_until > now()) as visible,
    m.visibility_reason as reason,
    case
        when s.acked_version >= m.visibility_version then 'delivered'
        when s.accepted_version >= m.visibility_version then 'accepted'
        else 'pending'
    end as status,
    coalesce(s.attempts, 0) as attempts,
    s.last_code,
    s.last_request_id,
    m.visibility_changed_at as changed_at,
    s.acked_at
from public.peer_mentors as m
join public.organisations as o on o.id = m.organisation_id
left join public.portal_sync_state as s on s.mentor_id = m.id
where o.visibility_channel <> 'none' and m.visibility_version > 0;

-- The dates of those who have certificates already. No flag, no pause, no message: the first sweep
-- does that, with its run written down.
update public.peer_mentors as m
set certification_expiry_date = decides.expiry_date,
    visible_until = (decides.expiry_date + 1)::timestamp at time zone o.timezone
from public.organisations as o,
    private.deciding_certificates(array(select id from public.peer_mentors)) as decides
where o.id = m.organisation_id and decides.mentor_id = m.id;
