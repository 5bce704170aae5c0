-- close_review: a person has looked, and says what was found.
-- index: dashboard_alerts_pkey (id)
-- why: once; who comes second changes nothing and is told so.
update dashboard_alerts
set resolved_at = %(now)s, resolved_by = %(actor_id)s, resolution_note = %(note)s
where id = %(alert_id)s and resolved_at is null
returning id
