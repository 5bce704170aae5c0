-- refresh_findings: open, see again and close what the data of one organisation lacks today.
-- index: data_quality_findings_one_open_per_subject (kind, subject) where resolved_at is null
-- why: a finding closes itself once fixed; nobody ticks it off. The step stored is the one of the
--      recipients' chain that stands in for a missing coordinator (5: nobody).
with mentors as (
    select m.id
    from peer_mentors as m
    where m.organisation_id = %(organisation_id)s and m.status in ('active', 'paused')
),
places as (
    select c.mentor_id, c.chapter_id
    from chapter_memberships as c
    inner join mentors on mentors.id = c.mentor_id
    where c.active
),
holders as (
    select r.user_id, r.chapter_id, r.role
    from user_roles as r
    where r.organisation_id = %(organisation_id)s and r.active
),
judged as (
    select
        mentors.id,
        (select p.chapter_id from places as p where p.mentor_id = mentors.id order by 1 limit 1)
            as chapter_id,
        case
            when exists (
                select
                from assignments as a
                inner join holders as h on h.user_id = a.coordinator_id
                where a.mentor_id = mentors.id
                    and a.active
                    and a.coordinator_id <> mentors.id
                    and h.role in ('coordinator', 'chapter_admin', 'org_admin', 'hlf_admin')
            ) then 1
            when exists (
                select
                from places as p
                inner join holders as h on h.chapter_id = p.chapter_id
                where p.mentor_id = mentors.id
                    and h.role = 'coordinator'
                    and h.user_id <> mentors.id
            ) then 2
            when exists (
                select
                from places as p
                inner join holders as h on h.chapter_id = p.chapter_id
                where p.mentor_id = mentors.id
                    and h.role = 'chapter_admin'
                    and h.user_id <> mentors.id
            ) then 3
            when exists (
                select
                from holders as h
                where h.role = 'coordinator' and h.user_id <> mentors.id
            ) then 4
            else 5
        end as step,
        exists (
            select
            from certifications as c
            where c.mentor_id = mentors.id and c.revoked_at is null
        ) as certified
    from mentors
),
wanting as (
    select 'missing_coordinator' as kind, id, chapter_id, step from judged where step > 2
    union all
    select 'mentor_without_chapter', id, null, null from judged where chapter_id is null
    union all
    select 'mentor_without_certificate', id, chapter_id, null from judged where not certified
),
noted as (
    insert into data_quality_findings (
        kind, organisation_id, chapter_id, mentor_id, subject, step, found_at, last_seen_at
    )
    select kind, %(organisation_id)s, chapter_id, id, id::text, step, %(now)s, %(now)s
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
            'missing_coordinator', 'mentor_without_chapter', 'mentor_without_certificate'
        )
        and not exists (
            select from wanting as w where w.kind = f.kind and w.id::text = f.subject
        )
    returning f.kind
)
select
    (select count(*) from noted where found_at = %(now)s) as opened,
    (select count(*) from closed) as closed,
    (
        select coalesce(jsonb_object_agg(kind, found), '{}')
        from (select kind, count(*) as found from noted group by kind) as counted
    ) as open_by_kind
