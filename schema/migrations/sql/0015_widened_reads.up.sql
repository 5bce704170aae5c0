-- 0015_widened_reads: whom the emergency switch showed to whom is on record (VIS-7, VIS-9).
-- locks: access exclusive on the six tables whose policies change, for a catalogue change only.
-- yesterday's code: runs; it asks under the same policies, which now write down what only the switch
--      let through. A read-only transaction is shown nothing by the switch, since nothing can be
--      written down there; the person's own rights are as before.
-- why: a policy is the one place every reader passes, ours or not. While the switch is off it costs
--      one question per statement. One row stands for a person, a mentor and an hour, so that a
--      screen that reloads itself does not bury the rest. A row is written as a policy lets it
--      through, which may be more than the statement returns, never less.
set local lock_timeout = '5s';

create table public.widened_reads (
    mentor_id uuid not null,
    actor_id uuid not null,
    hour timestamptz not null,
    first_read_at timestamptz not null default now(),
    organisation_id uuid not null,
    actor_role text not null,
    reason text not null,
    -- no foreign keys: what was seen stays on record when its subject is gone
    constraint widened_reads_once_an_hour primary key (mentor_id, actor_id, hour),
    constraint widened_reads_hour_is_whole check (hour = date_trunc('hour', hour, 'UTC'))
);
comment on table public.widened_reads is
    'Whom somebody read because the emergency switch was on, and why it was: one row per hour (VIS-7).';

create function private.widened_reads_is_append_only() returns trigger
language plpgsql set search_path = ''
as $$
begin
    raise exception 'widened_reads is append-only' using errcode = 'insufficient_privilege';
end
$$;
create trigger widened_reads_is_append_only before update or delete or truncate on public.widened_reads
for each statement execute function private.widened_reads_is_append_only();

revoke all on public.widened_reads from public, anon, authenticated, service_role;
alter table public.widened_reads enable row level security;
alter table public.widened_reads force row level security;
grant select, insert on public.widened_reads to service_role;

create function private.i_am_widened() returns boolean
language sql stable security definer set search_path = ''
as $$
    select exists (select private.widened_organisations(auth.uid()))
$$;

create function private.note_widened_read(mentor uuid) returns boolean
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

create function private.followed_read_noted(mentor uuid) returns boolean
language plpgsql volatile security definer cost 10000 set search_path = ''
as $$
begin
    if mentor = auth.uid() or exists (
        select
        from public.chapter_memberships as belongs
        where belongs.mentor_id = mentor
            and belongs.active
            and belongs.chapter_id = any (array(select private.my_coordinator_chapters()))
    ) then
        return true;
    end if;
    return private.note_widened_read(mentor);
end
$$;
comment on function private.followed_read_noted(uuid) is
    'Writes a read down where only the switch allows it: the caller coordinates no chapter of the mentor.';

create function private.reported_read_noted(mentor uuid) returns boolean
language plpgsql volatile security definer cost 10000 set search_path = ''
as $$
begin
    if mentor is null or exists (
        select
        from public.peer_mentors as m
        where m.id = mentor
            and m.organisation_id = any (array(select private.my_administered_organisations()))
    ) or exists (
        select
        from public.user_roles as r
        where r.user_id = auth.uid()
            and r.active
            and (
                r.role in ('coordinator', 'chapter_admin')
                and r.chapter_id in (
                    select belongs.chapter_id
                    from public.chapter_memberships as belongs
                    where belongs.mentor_id = mentor and belongs.active
                )
                or r.role = 'coordinator'
                and exists (
                    select
                    from public.assignments as assigned
                    where assigned.mentor_id = mentor
                        and assigned.coordinator_id = auth.uid()
                        and assigned.active
                )
            )
    ) then
        return true;
    end if;
    return private.note_widened_read(mentor);
end
$$;
comment on function private.reported_read_noted(uuid) is
    'The same of alerts, findings and reports, which more people answer for.';

-- The report's duplicates pass no policy: they lie in one column, and this function cuts them down.
create or replace function private.my_report_duplicates(report uuid) returns jsonb
language sql volatile security definer set search_path = ''
as $$
    select coalesce(jsonb_agg(found.duplicate order by found.place), '[]')
    from public.reconciliation_reports as r
    cross join lateral jsonb_array_elements(r.duplicates) with ordinality as found (duplicate, place)
    where r.id = my_report_duplicates.report
        and (
            r.organisation_id = any (array(select private.my_administered_organisations()))
            or r.organisation_id = any (array(select private.my_staffed_organisations()))
            and (found.duplicate ->> 'mentor_id')::uuid
                = any (array(select private.my_reported_mentors()))
        )
        and (
            not (select private.i_am_widened())
            or private.reported_read_noted((found.duplicate ->> 'mentor_id')::uuid)
        )
$$;

revoke all on function
    private.widened_reads_is_append_only(), private.i_am_widened(), private.note_widened_read(uuid),
    private.followed_read_noted(uuid), private.reported_read_noted(uuid)
from public, anon, authenticated, service_role;
grant execute on function
    private.i_am_widened(), private.followed_read_noted(uuid), private.reported_read_noted(uuid)
to authenticated;

-- Policies: the same rows as before, and what only the switch shows is written down ---------------

alter policy peer_mentors_read_own_or_followed on public.peer_mentors
using (
    (id = (select auth.uid()) or id = any (array(select private.my_followed_mentors())))
    and (not (select private.i_am_widened()) or private.followed_read_noted(id))
);

alter policy certifications_own_or_followed on public.certifications
using (
    (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())))
    and (not (select private.i_am_widened()) or private.followed_read_noted(mentor_id))
);

alter policy activities_own_or_followed on public.activities
using (
    (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())))
    and (not (select private.i_am_widened()) or private.followed_read_noted(mentor_id))
);

alter policy dashboard_alerts_answered_for on public.dashboard_alerts
using (
    (
        organisation_id = any (array(select private.my_administered_organisations()))
        or mentor_id = any (array(select private.my_reported_mentors()))
        or organisation_id is null and (select private.i_administer_all())
    )
    and (not (select private.i_am_widened()) or private.reported_read_noted(mentor_id))
);

alter policy data_quality_findings_answered_for on public.data_quality_findings
using (
    (
        organisation_id = any (array(select private.my_administered_organisations()))
        or mentor_id = any (array(select private.my_reported_mentors()))
    )
    and (not (select private.i_am_widened()) or private.reported_read_noted(mentor_id))
);

alter policy reconciliation_items_answered_for on public.reconciliation_items
using (
    (
        mentor_id = any (array(select private.my_reported_mentors()))
        or report_id in (
            select r.id
            from public.reconciliation_reports as r
            where r.organisation_id = any (array(select private.my_administered_organisations()))
        )
    )
    and (not (select private.i_am_widened()) or private.reported_read_noted(mentor_id))
);
