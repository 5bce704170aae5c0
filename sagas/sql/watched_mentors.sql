-- watched_mentors: mentors about whose way to the portal an alert is open, or something is awaited.
-- index: saga_one_open_per_key (name, key) where ended_at is null;
--      dashboard_alerts_one_open_per_subject (type, organisation_id, subject) where resolved_at is null
-- why: these are told when the portal agrees after all, so that nothing stays open without a cause:
--      a confirmation that was lost, or an old message that came again.
with alerted as (
    select a.mentor_id, a.type
    from dashboard_alerts as a
    where a.type = any(%(types)s::text[])
        and a.organisation_id = %(organisation_id)s
        and a.subject = 'mentor:' || a.mentor_id::text
        and a.resolved_at is null
)
select
    m.id as mentor_id,
    array(
        select alerted.type from alerted where alerted.mentor_id = m.id order by alerted.type
    ) as alerts
from peer_mentors as m
where m.organisation_id = %(organisation_id)s
    and (
        m.id in (select alerted.mentor_id from alerted)
        or 'mentor:' || m.id::text in (
            select s.key
            from outbox.saga as s
            where s.name = %(saga)s and s.ended_at is null
        )
    )
order by m.id
