-- 0015_widened_reads, down: policies as they were; what was written down is gone with its table.
-- locks: access exclusive on the six tables whose policies change, for a catalogue change only.
set local lock_timeout = '5s';

alter policy peer_mentors_read_own_or_followed on public.peer_mentors
using (id = (select auth.uid()) or id = any (array(select private.my_followed_mentors())));

alter policy certifications_own_or_followed on public.certifications
using (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())));

alter policy activities_own_or_followed on public.activities
using (mentor_id = (select auth.uid()) or mentor_id = any (array(select private.my_followed_mentors())));

alter policy dashboard_alerts_answered_for on public.dashboard_alerts
using (
    organisation_id = any (array(select private.my_administered_organisations()))
    or mentor_id = any (array(select private.my_reported_mentors()))
    or organisation_id is null and (select private.i_administer_all())
);

alter policy data_quality_findings_answered_for on public.data_quality_findings
using (
    organisation_id = any (array(select private.my_administered_organisations()))
    or mentor_id = any (array(select private.my_reported_mentors()))
);

alter policy reconciliation_items_answered_for on public.reconciliation_items
using (
    mentor_id = any (array(select private.my_reported_mentors()))
    or report_id in (
        select r.id
        from public.reconciliation_reports as r
        where r.organisation_id = any (array(select private.my_administered_organisations()))
    )
);

create or replace function private.my_report_duplicates(report uuid) returns jsonb
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

drop function private.reported_read_noted(uuid);
drop function private.followed_read_noted(uuid);
drop function private.note_widened_read(uuid);
drop function private.i_am_widened();
drop table public.widened_reads;
drop function private.widened_reads_is_append_only();
