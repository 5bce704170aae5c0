-- refresh_findings: open, see again and close what the data of one organisation lacks today.
-- index: data_quality_findings_one_open_per_subject (kind, subject) where resolved_at is null
-- why: a finding closes itself once fixed; nobody ticks it off. The step stored is the one of the
--      recipients' chain that stands in for a missing coordinator (5: nobody). Whole sets are
--      joined once: asked mentor by mentor this took half a minute for 13,000 of them. Whom the
--      portal does not know it has said itself, when asked; here that ends, once it has answered
--      otherwise, or is not to show him.
with mentors as (
    select m.id
    from peer_mentors as m
    where m.organisation_id = %(organisation_id)s and m.status in ('active', 'paused')
),
holders as materialized (
    select distinct r.user_id, r.chapter_id, r.role
    from user_roles as r
    where r.organisation_id = %(organisation_id)s
        and r.active
        and r.role in ('coordinator', 'chapter_admin', 'org_admin', 'hlf_admin')
),
assigned as (
    select a.mentor_id
    from assignments as a
    where a.active
        and a.coordinator_id <> a.mentor_id
        and a.coordinator_id in (select h.user_id from holders as h)
    group by a.mentor_id
),
placed as (
    select
        c.mentor_id,
        min(c.chapter_id::text)::uuid as chapter_id,
        bool_or(h.role = 'coordinator') as coordinated,
        bool_or(h.role = 'chapter_admin') as administered
    from chapter_memberships as c
    inner join mentors on mentors.id = c.mentor_id
    left join holders as h on h.chapter_id = c.chapter_id and h.user_id <> c.mentor_id
    where c.active
    group by c.mentor_id
),
certified as (
    select c.mentor_id
    from certifications as c
    where c.revoked_at is null
    group by c.mentor_id
),
judged as (
    select
        mentors.id,
        placed.chapter_id,
        case
            when assigned.mentor_id is not null then 1
            when placed.coordinated then 2
            when placed.administered then 3
            when (
                select count(distinct h.user_id)
                from holders as h
                where h.role = 'coordinator'
            ) > (own.mentor_id is not null)::integer then 4
            else 5
        end as step,
        certified.mentor_id is not null as certified
    from mentors
    left join assigned on assigned.mentor_id = mentors.id
    left join placed on placed.mentor_id = mentors.id
    left join certified on certified.mentor_id = mentors.id
    left join (
        select distinct h.user_id as mentor_id
        from holders as h
        where h.role = 'coordinator'
    ) as own on own.mentor_id = mentors.id
),
unknown as (
    select m.id
    from data_quality_findings as f
    inner join peer_mentors as m on m.id = f.mentor_id and m.organisation_id = f.organisation_id
    inner join organisations as o on o.id = m.organisation_id and o.visibility_channel <> 'none'
    left join portal_sync_state as s on s.mentor_id = m.id
    where f.organisation_id = %(organisation_id)s
        and f.kind = 'unknown_at_portal'
        and f.resolved_at is null
        and app.visible(m.id, %(now)s)
        and (
            s.last_code is not distinct from 'unknown_mentor'
            or coalesce(s.acked_at < f.found_at, true)
            and (s.observed_version is null or s.observed_at < f.found_at)
        )
),
wanting as (
    select 'missing_coordinator' as kind, id::text as subject, id, chapter_id, step
    from judged
    where step > 2
    union all
    select 'mentor_without_chapter', id::text, id, null, null
    from judged
    where chapter_id is null
    union all
    select 'mentor_without_certificate', id::text, id, chapter_id, null
    from judged
    where not certified
    union all
    select 'unknown_at_portal', unknown.id::text, unknown.id, placed.chapter_id, null
    from unknown
    left join placed on placed.mentor_id = unknown.id
),
noted as (
    insert into data_quality_findings (
        kind, organisation_id, chapter_id, mentor_id, subject, step, found_at, last_seen_at
    )
    select kind, %(organisation_id)s, chapter_id, id, subject, step, %(now)s, %(now)s
    from wanting
    on conflict (kind, subject) where resolved_at is null
    do update set
        last_seen_at = excluded.last_seen_at,
        step = excluded.step,
        chapter_id = excluded.chapter_id
    returning kind, found_at
),
closed as (
    update data_quality_findings as f
    set resolved_at = %(now)s
    where f.organisation_id = %(organisation_id)s
        and f.resolved_at is null
        and f.kind in (
            'missing_coordinator', 'mentor_without_chapter', 'mentor_without_certificate',
            'unknown_at_portal'
        )
        and (f.kind, f.subject) not in (select w.kind, w.subject from wanting as w)
    returning f.kind
)
select
    (select count(*) from noted where found_at = %(now)s) as opened,
    (select count(*) from closed) as closed,
    (
        select coalesce(jsonb_object_agg(kind, found), '{}')
        from (select kind, count(*) as found from noted group by kind) as counted
    ) as open_by_kind
