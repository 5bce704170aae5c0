-- 0006_access: who may see and change what: grants, row-level security, the guard of the status row.
-- locks: access exclusive on every table of the application, for a catalogue change only.
-- yesterday's code: runs under service_role and as the owner of the tables. Clients of tables that
--      existed before keep their grants and their own policies; where such a table had no row-level
--      security, clients now see what the policies here allow: add the app's own policies first.
-- why: policies compare with sets computed once per statement, `= any (array(select ...))`, and with
--      `(select auth.uid())`; nobody signed in is null, and null matches no row (VIS-3). Rights come
--      from tables, not from claims (VIS-4).
set local lock_timeout = '5s';

-- Grants -----------------------------------------------------------------------------------------

do $$
declare
    subject text;
    privilege text;
begin
    foreach subject in array array[
        'organisations', 'chapters', 'peer_mentors', 'chapter_memberships', 'user_roles',
        'assignments', 'certifications', 'device_tokens', 'activities'
    ] loop
        if exists (select from app.addition as a where a.kind = 'table' and a.relation = subject) then
            execute format('revoke all on public.%I from public, anon, authenticated', subject);
        end if;
        foreach privilege in array array['select', 'insert', 'update', 'delete'] loop
            if not has_table_privilege('service_role', format('public.%I', subject), privilege) then
                insert into app.addition (kind, relation, name) values ('grant', subject, privilege);
                execute format('grant %s on public.%I to service_role', privilege, subject);
            end if;
        end loop;
        if not (select relrowsecurity from pg_class where oid = format('public.%I', subject)::regclass) then
            insert into app.addition (kind, relation) values ('row_security', subject);
            execute format('alter table public.%I enable row level security', subject);
        end if;
        if not (select relforcerowsecurity from pg_class where oid = format('public.%I', subject)::regclass) then
            insert into app.addition (kind, relation) values ('forced_row_security', subject);
            execute format('alter table public.%I force row level security', subject);
        end if;
    end loop;

    -- a table of the app's own keeps the grants its clients had
    if exists (select from app.addition as a where a.kind = 'table' and a.relation = 'peer_mentors') then
        grant select (id, organisation_id) on public.peer_mentors to anon;
        grant select, update (status, pause_reason) on public.peer_mentors to authenticated;
    end if;
    foreach subject in array array[
        'organisations', 'chapters', 'chapter_memberships', 'user_roles', 'assignments',
        'certifications', 'device_tokens', 'activities'
    ] loop
        if exists (select from app.addition as a where a.kind = 'table' and a.relation = subject) then
            execute format('grant select on public.%I to authenticated', subject);
        end if;
    end loop;

    foreach subject in array array[
        'notification_policies', 'feature_flags', 'cert_expiry_reminders', 'notification_groups',
        'notification_items', 'cert_notification_log', 'notifications', 'portal_sync_state',
        'mentor_status_history', 'job_runs', 'job_locks', 'dashboard_alerts',
        'data_quality_findings', 'reconciliation_reports', 'reconciliation_items',
        'credential_checks', 'audit_log', 'followup_scenarios', 'scenario_settings',
        'prompt_history'
    ] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', subject);
        execute format('alter table public.%I enable row level security', subject);
        execute format('alter table public.%I force row level security', subject);
        execute format('grant select, insert on public.%I to service_role', subject);
        if subject not in ('audit_log', 'mentor_status_history') then
            execute format('grant update, delete on public.%I to service_role', subject);
        end if;
    end loop;

    foreach subject in array array['reminder_dispatch_log', 'fcm_push_queue', 'visibility_sync_events'] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', subject);
        execute format('grant select on public.%I to service_role', subject);
    end loop;
end
$$;

grant select on public.notifications to authenticated;

revoke all on function public.mark_notification_read(uuid) from public, anon;
grant execute on function public.mark_notification_read(uuid) to authenticated, service_role;

revoke all on schema app, private from public;
grant usage on schema app to service_role;
grant usage on schema private to authenticated;
revoke all on all functions in schema app, private from public, anon, authenticated;
grant execute on all functions in schema app to service_role;

-- The engine's tables serve whoever publishes or works in service_role's name; no client sees them.
do $$
begin
    if to_regnamespace('outbox') is not null then
        grant usage on schema outbox to service_role;
        grant select, insert, update, delete on all tables in schema outbox to service_role;
        grant usage on all sequences in schema outbox to service_role;
        grant execute on all functions in schema outbox to service_role;
        alter default privileges in schema outbox
            grant select, insert, update, delete on tables to service_role;
        alter default privileges in schema outbox grant usage on sequences to service_role;
        alter default privileges in schema outbox grant execute on functions to service_role;
    end if;
end
$$;

-- Whom the caller may see ------------------------------------------------------------------------

create function private.my_organisations() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select r.organisation_id
    from public.user_roles as r
    where r.user_id = auth.uid() and r.active
    union
    select m.organisation_id
    from public.peer_mentors as m
    where m.id = auth.uid()
$$;

create function private.my_coordinator_chapters() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select r.chapter_id
    from public.user_roles as r
    where r.user_id = auth.uid() and r.role = 'coordinator' and r.active and r.chapter_id is not null
$$;

create function private.widened_organisations(actor uuid) returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select r.organisation_id
    from public.user_roles as r
    join public.feature_flags as f on f.organisation_id = r.organisation_id
    where r.user_id = actor
        and r.role = 'coordinator'
        and r.active
        and f.flag = 'widen_coordinator_scope'
        and f.enabled
        and f.expires_at > now()
$$;
comment on function private.widened_organisations(uuid) is
    'Where the emergency switch lets a coordinator follow up every mentor, until it expires (VIS-7).';

create function private.my_followed_mentors() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select belongs.mentor_id
    from public.chapter_memberships as belongs
    where belongs.active
        and belongs.chapter_id = any (array(select private.my_coordinator_chapters()))
    union
    select m.id
    from public.peer_mentors as m
    where m.organisation_id = any (array(select private.widened_organisations(auth.uid())))
$$;

revoke all on all functions in schema private from public, anon, authenticated;
grant execute on function
    private.my_organisations(), private.my_coordinator_chapters(), private.my_followed_mentors()
to authenticated;

create function app.may_follow_up(actor uuid, mentor uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
    select exists (
        select
        from public.peer_mentors as m
        where m.id = mentor
            and (
                m.id = actor
                or m.organisation_id = any (array(select private.widened_organisations(actor)))
                or exists (
                    select
                    from public.assignments as assigned
                    where assigned.mentor_id = m.id and assigned.coordinator_id = actor and assigned.active
                )
                or exists (
                    select
                    from public.user_roles as r
                    where r.user_id = actor
                        and r.active
                        and (
                            r.role in ('org_admin', 'hlf_admin') and r.organisation_id = m.organisation_id
                            or r.role in ('coordinator', 'chapter_admin')
                            and r.chapter_id in (
                                select belongs.chapter_id
                                from public.chapter_memberships as belongs
                                where belongs.mentor_id = m.id and belongs.active
                            )
                        )
                )
            )
    )
$$;
comment on function app.may_follow_up(uuid, uuid) is
    'Whether a person may act for a mentor: himself, his coordinators, admins above them (SYN-8).';
revoke all on function app.may_follow_up(uuid, uuid) from public;
grant execute on function app.may_follow_up(uuid, uuid) to service_role;

-- Policies ---------------------------------------------------------------------------------------

create policy organisations_of_mine on public.organisations for select to authenticated
using (id = any (array(select private.my_organisations())));

create policy chapters_of_mine on public.chapters for select to authenticated
using (organisation_id = any (array(select private.my_organisations())));

-- VIS-1: the date stands in the policy, so that a lapse hides at once although no job ran
create policy peer_mentors_public_listing on public.peer_mentors for select to anon
using (
    status = 'active'
    and suppression_status = 'none'
    and (visible_until is null or visible_until > now())
);

create policy peer_mentors_read_own_or_followed on public.peer_mentors for select to authenticated
using (id = (select auth.uid()) or id = any (array(select private.my_followed_mentors())));

create policy peer_mentors_edit_own_or_followed on public.peer_mentors for update to authenticated
using (id = (select auth.uid()) or id = any (array(select private.my_followed_mentors())))
with check (id = (select auth.uid()) or id = any (array(select private.my_followed_mentors())));

create policy chapter_memberships_own_or_followed on public.chapter_memberships
for select to authenticated
using (
    mentor_id = (select auth.uid())
    or chapter_id = any (array(select private.my_coordinator_chapters()))
);

create policy user_roles_own on public.user_roles for select to authenticated
using (user_id = (select auth.uid()));

create policy assignments_own on public.assignments for select to authenticated
using (mentor_id = (select auth.uid()) or coordinator_id = (select auth.uid()));

create policy certifications_own_or_followed on public.certifications for select to authenticated
using (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())));

create policy device_tokens_own on public.device_tokens for select to authenticated
using (user_id = (select auth.uid()));

create policy activities_own_or_followed on public.activities for select to authenticated
using (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())));

-- NTF-3: own rows, read only; no policy lets a client write
create policy notifications_own on public.notifications for select to authenticated
using (recipient_id = (select auth.uid()));

-- The listing for everybody, signed in or not: two columns, with the owner's rights, because a
-- signed-in person's own policies would show that person's mentors instead.
create view public.mentor_listing with (security_barrier = true) as
select id, organisation_id
from public.peer_mentors
where status = 'active'
    and suppression_status = 'none'
    and (visible_until is null or visible_until > now());
revoke all on public.mentor_listing from public, anon, authenticated, service_role;
grant select on public.mentor_listing to anon, authenticated, service_role;

-- The guard of the status row (VIS-2, VIS-6) -----------------------------------------------------

create function private.mentor_guarded() returns trigger
language plpgsql set search_path = ''
as $$
begin
    if current_user not in ('anon', 'authenticated') then
        return new;
    end if;
    if (
        new.id, new.organisation_id, new.paused_at, new.pause_source, new.suppression_status,
        new.certification_expiry_date, new.visible_until, new.visibility_version,
        new.visibility_changed_at, new.visibility_effective_at, new.visibility_reason
    ) is distinct from (
        old.id, old.organisation_id, old.paused_at, old.pause_source, old.suppression_status,
        old.certification_expiry_date, old.visible_until, old.visibility_version,
        old.visibility_changed_at, old.visibility_effective_at, old.visibility_reason
    ) then
        raise exception 'only status and pause_reason may be edited'
            using errcode = 'insufficient_privilege';
    end if;
    if new.status = old.status then
        return new;
    end if;
    if 'inactive' in (old.status, new.status) then
        raise exception 'leaving and coming back are decided by an administrator'
            using errcode = 'insufficient_privilege';
    end if;
    if new.status = 'active' and old.visible_until <= now() then
        raise exception 'the pause ends when the certificate is renewed'
            using errcode = 'insufficient_privilege';
    end if;
    if new.status = 'active' and old.pause_source = 'certificate_expired' and old.id = auth.uid() then
        raise exception 'a pause for a lapsed certificate is not lifted by the mentor himself'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;
create trigger peer_mentors_10_guarded before update on public.peer_mentors
for each row execute function private.mentor_guarded();

create function private.mentor_edit_audited() returns trigger
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
            current_setting('role'),
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
create trigger peer_mentors_30_audited after update on public.peer_mentors
for each row when (
    old.status is distinct from new.status or old.pause_reason is distinct from new.pause_reason
)
execute function private.mentor_edit_audited();

revoke all on function private.mentor_guarded(), private.mentor_edit_audited()
from public, anon, authenticated;
