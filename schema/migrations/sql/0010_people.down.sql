-- 0010_people: close what was opened to coordinators and administrators. The login stays: it belongs
--      to the cluster, and has no rights of its own.
-- locks: access exclusive on each table that loses a policy or a trigger, for a catalogue change only.
set local lock_timeout = '5s';

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

drop trigger feature_flags_scope_audited_delete on public.feature_flags;
drop trigger feature_flags_scope_audited_update on public.feature_flags;
drop trigger feature_flags_scope_audited_insert on public.feature_flags;
drop function private.scope_switched();
drop function public.register_device(text, text, text);

revoke select (
    id, organisation_id, run_id, dry_run, started_at, finished_at, complete, totals, repaired,
    unknown_pushes, failed_pushes, open_alerts, credential_status
) on public.reconciliation_reports from authenticated;
revoke select on
    public.dashboard_alerts, public.data_quality_findings, public.reconciliation_items,
    public.notification_policies, public.scenario_settings, public.followup_scenarios
from authenticated;

drop policy followup_scenarios_for_staff on public.followup_scenarios;
drop policy scenario_settings_of_my_organisations on public.scenario_settings;
drop policy notification_policies_of_my_organisations on public.notification_policies;
drop policy reconciliation_items_answered_for on public.reconciliation_items;
drop policy reconciliation_reports_of_my_organisations on public.reconciliation_reports;
drop policy data_quality_findings_answered_for on public.data_quality_findings;
drop policy dashboard_alerts_answered_for on public.dashboard_alerts;

drop function private.my_report_duplicates(uuid);
drop function private.my_reported_mentors();
drop function private.i_administer_all();
drop function private.my_staffed_organisations();
drop function private.my_administered_organisations();

revoke select on app.outbox_application_version from service_role;
