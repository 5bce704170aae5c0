-- close_alert: resolve the open alert of one type, organisation and subject.
-- index: dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: an alert without organisation is addressed by a null that equals a null; a closed alert stays
--      as it was closed first.
update public.dashboard_alerts
set resolved_at = %(now)s
where type = %(type)s
    and organisation_id is not distinct from coalesce(
        %(organisation_id)s::uuid,
        (select m.organisation_id from public.peer_mentors as m where m.id = %(mentor_id)s)
    )
    and subject = %(subject)s
    and resolved_at is null
