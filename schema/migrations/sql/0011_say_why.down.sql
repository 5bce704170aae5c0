-- 0011_say_why, down: version 1 again, and no sweep with the change.
-- locks: none but the functions' own catalogue rows.
set local lock_timeout = '5s';

create or replace function private.change_mentor(
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

create or replace function app.bump_visibility(
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

create or replace function private.refresh_mentors(mentors uuid[], instant timestamptz) returns void
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

create or replace function private.mentor_edited() returns trigger
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

drop function private.announce(uuid, bigint, text);
