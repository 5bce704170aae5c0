-- open_alert: open an alert, or make the open one more severe.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject);
--      organisations_pkey (id); peer_mentors_pkey (id)
-- why: one open alert per type, organisation and subject, also between racing openers. An alert never
--      becomes less severe; when it becomes more so, that is its escalation, kept with its time. An
--      alert about somebody deleted meanwhile is nobody's, so it is not written. Its text is in the
--      organisation's language; operators, who have none, read English.
with told as (
    select
        coalesce(
            %(organisation_id)s::uuid,
            (select m.organisation_id from public.peer_mentors as m where m.id = %(mentor_id)s)
        ) as organisation_id,
        %(mentor_id)s::uuid as mentor_id
), standing as (
    select told.organisation_id, told.mentor_id, coalesce(organisation.language, 'en') as language
    from told
    left join public.organisations as organisation on organisation.id = told.organisation_id
    where (
        told.organisation_id is null
        or organisation.id is not null
    ) and (
        told.mentor_id is null
        or exists (select from public.peer_mentors where id = told.mentor_id)
    )
), opened as (
    insert into public.dashboard_alerts as alert (
        type, organisation_id, mentor_id, subject, text, severity, hint, opened_at, due_at
    )
    select
        %(type)s, organisation_id, mentor_id, %(subject)s, %(texts)s::jsonb ->> language, %(severity)s,
        %(hint)s, %(now)s, %(now)s::timestamptz + %(due_after)s::interval
    from standing
    on conflict (type, organisation_id, subject) where resolved_at is null do update set
        severity = excluded.severity,
        hint = coalesce(excluded.hint, alert.hint),
        escalated_at = excluded.opened_at
    where array_position(array['info', 'warning', 'critical'], excluded.severity)
        > array_position(array['info', 'warning', 'critical'], alert.severity)
    returning escalated_at is not null as escalated
)
select
    case
        when not exists (select from standing) then 'subject_gone'
        when not exists (select from opened) then 'already_open'
        when (select escalated from opened) then 'escalated'
        else 'opened'
    end as outcome
