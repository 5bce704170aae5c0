-- 0010_people: what coordinators and administrators may read, a person's device, the emergency switch.
-- locks: access exclusive on each table that gets a policy or a trigger, for a catalogue change only.
-- yesterday's code: runs; it reads under service_role, which no policy binds.
-- why: the HTTP surface asks as the person who calls, so that these policies decide and not its code.
--      Rows are opened by the sets of 0006: computed once per statement, nobody signed in is no row.
set local lock_timeout = '5s';

-- The login of the HTTP surface (VIS-8). It has no rights of its own: each request takes on
-- authenticated, and service_role where a right was found and a deed follows.
do $$
begin
    if not exists (select from pg_roles where rolname = 'peermentor_api') then
        create role peermentor_api login noinherit;
    end if;
    if not pg_has_role('peermentor_api', 'service_role', 'member') then
        grant authenticated, service_role to peermentor_api;
    end if;
exception
    when duplicate_object or unique_violation or internal_error then
        null;  -- another database of the cluster has just done it
    when insufficient_privilege then
        raise notice 'create role peermentor_api and grant it authenticated and service_role by hand';
end
$$;

-- A relay, a job and the surface look whether the schema suits their code before they begin.
grant select on app.outbox_application_version to service_role;

-- Whom and what the caller answers for -----------------------------------------------------------

create function private.my_administered_organisations() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select r.organisation_id
    from public.user_roles as r
    where r.user_id = auth.uid() and r.active and r.role in ('org_admin', 'hlf_admin')
$$;

create function private.my_staffed_organisations() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select r.organisation_id
    from public.user_roles as r
    where r.user_id = auth.uid()
        and r.active
        and r.role in ('coordinator', 'chapter_admin', 'org_admin', 'hlf_admin')
$$;

create function private.i_administer_all() returns boolean
language sql stable security definer set search_path = ''
as $$
    select exists (
        select
        from public.user_roles as r
        where r.user_id = auth.uid() and r.active and r.role = 'hlf_admin'
    )
$$;

create function private.my_reported_mentors() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select belongs.mentor_id
    from public.user_roles as r
    join public.chapter_memberships as belongs on belongs.chapter_id = r.chapter_id
    where r.user_id = auth.uid()
        and r.active
        and r.role in ('coordinator', 'chapter_admin')
        and belongs.active
    union
    select assigned.mentor_id
    from public.assignments as assigned
    where assigned.coordinator_id = auth.uid()
        and assigned.active
        and exists (
            select
            from public.user_roles as r
            where r.user_id = auth.uid() and r.active and r.role = 'coordinator'
        )
    union
    select m.id
    from public.peer_mentors as m
    where m.organisation_id = any (array(select private.widened_organisations(auth.uid())))
$$;
comment on function private.my_reported_mentors() is
    'Whom alerts and reports may speak of to the caller who is no administrator (RCN-4).';

create function private.my_report_duplicates(report uuid) returns jsonb
language sql stable security definer set search_path = ''
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
$$;
comment on function private.my_report_duplicates(uuid) is
    'What a stored report says of duplicates, cut down to the mentors the caller answers for.';

revoke all on function
    private.my_administered_organisations(), private.my_staffed_organisations(),
    private.i_administer_all(), private.my_reported_mentors(), private.my_report_duplicates(uuid)
from public;
grant execute on function
    private.my_administered_organisations(), private.my_staffed_organisations(),
    private.i_administer_all(), private.my_reported_mentors(), private.my_report_duplicates(uuid)
to authenticated;

-- Policies ---------------------------------------------------------------------------------------

create policy dashboard_alerts_answered_for on public.dashboard_alerts for select to authenticated
using (
    organisation_id = any (array(select private.my_administered_organisations()))
    or mentor_id = any (array(select private.my_reported_mentors()))
    or organisation_id is null and (select private.i_administer_all())
);

create policy data_quality_findings_answered_for on public.data_quality_findings
for select to authenticated
using (
    organisation_id = any (array(select private.my_administered_organisations()))
    or mentor_id = any (array(select private.my_reported_mentors()))
);

create policy reconciliation_reports_of_my_organisations on public.reconciliation_reports
for select to authenticated
using (organisation_id = any (array(select private.my_staffed_organisations())));

create policy reconciliation_items_answered_for on public.reconciliation_items
for select to authenticated
using (
    mentor_id = any (array(select private.my_reported_mentors()))
    or report_id in (
        select r.id
        from public.reconciliation_reports as r
        where r.organisation_id = any (array(select private.my_administered_organisations()))
    )
);

create policy notification_policies_of_my_organisations on public.notification_policies
for select to authenticated
using (organisation_id = any (array(select private.my_staffed_organisations())));

create policy scenario_settings_of_my_organisations on public.scenario_settings
for select to authenticated
using (organisation_id = any (array(select private.my_staffed_organisations())));

create policy followup_scenarios_for_staff on public.followup_scenarios for select to authenticated
using (exists (select private.my_staffed_organisations()));

grant select on
    public.dashboard_alerts, public.data_quality_findings, public.reconciliation_items,
    public.notification_policies, public.scenario_settings, public.followup_scenarios
to authenticated;
-- all but `duplicates`, which names mentors of every chapter: my_report_duplicates cuts it down
grant select (
    id, organisation_id, run_id, dry_run, started_at, finished_at, complete, totals, repaired,
    unknown_pushes, failed_pushes, open_alerts, credential_status
) on public.reconciliation_reports to authenticated;

-- A person's device ------------------------------------------------------------------------------

create function public.register_device(address text, address_kind text, platform text) returns uuid
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    registered uuid;
begin
    if auth.uid() is null then
        raise exception 'nobody is signed in' using errcode = 'insufficient_privilege';
    end if;
    insert into public.device_tokens (user_id, address, address_kind, platform, last_seen_at)
    values (
        auth.uid(), register_device.address, register_device.address_kind,
        register_device.platform, app.instant()
    )
    on conflict (address) do update
    set user_id = excluded.user_id,
        address_kind = excluded.address_kind,
        platform = excluded.platform,
        last_seen_at = excluded.last_seen_at,
        invalidated_at = null,
        invalid_reason = null
    returning id into registered;
    return registered;
end
$$;
comment on function public.register_device(text, text, text) is
    'Called by clients: the address reaches the caller from now on, whoever was signed in there before.';
revoke all on function public.register_device(text, text, text) from public, anon;
grant execute on function public.register_device(text, text, text) to authenticated, service_role;

-- The emergency switch, and who edits a status (VIS-7, VIS-9, AUD-1) ------------------------------

create function private.scope_switched() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    before jsonb;
    after jsonb;
begin
    if tg_op <> 'INSERT' then
        before := jsonb_build_object('enabled', old.enabled, 'expires_at', old.expires_at);
    end if;
    if tg_op <> 'DELETE' then
        after := jsonb_build_object('enabled', new.enabled, 'expires_at', new.expires_at);
    end if;
    if before is distinct from after then
        insert into public.audit_log (
            at, actor_id, actor_role, action, organisation_id, subject, reason, before, after
        )
        values (
            app.instant(),
            coalesce(auth.uid(), case when tg_op = 'DELETE' then old.changed_by else new.changed_by end),
            coalesce(nullif(current_setting('role'), 'none'), session_user),
            'scope.switched',
            case when tg_op = 'DELETE' then old.organisation_id else new.organisation_id end,
            jsonb_build_object('flag', 'widen_coordinator_scope'),
            case when tg_op = 'DELETE' then old.reason else new.reason end,
            before,
            after
        );
    end if;
    return null;
end
$$;
comment on function private.scope_switched() is
    'Writes every change of the emergency switch down, whoever makes it.';
revoke all on function private.scope_switched() from public;

create trigger feature_flags_scope_audited_insert after insert on public.feature_flags
for each row when (new.flag = 'widen_coordinator_scope')
execute function private.scope_switched();
create trigger feature_flags_scope_audited_update after update on public.feature_flags
for each row when (old.flag = 'widen_coordinator_scope' or new.flag = 'widen_coordinator_scope')
execute function private.scope_switched();
create trigger feature_flags_scope_audited_delete after delete on public.feature_flags
for each row when (old.flag = 'widen_coordinator_scope')
execute function private.scope_switched();

-- The role written down is the person's own, although the deed was done under service_role.
create or replace function private.mentor_edit_audited() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    editor constant uuid := auth.uid();
begin
    if editor is not null then
        insert into public.audit_log (
            actor_id, actor_role, action, organisation_id, mentor_id, subject, before, after
        )
        values (
            editor,
            coalesce(nullif(auth.jwt() ->> 'role', ''), current_setting('role')),
            'mentor.status_edited',
            new.organisation_id,
            new.id,
            jsonb_build_object('scope', case
                when editor = new.id then 'self'
                when exists (
                    select
                    from public.chapter_memberships as belongs
                    where belongs.mentor_id = new.id
                        and belongs.active
                        and belongs.chapter_id = any (array(select private.my_coordinator_chapters()))
                ) then 'chapter'
                else 'widened'
            end),
            jsonb_build_object('status', old.status),
            jsonb_build_object('status', new.status)
        );
    end if;
    return null;
end
$$;
