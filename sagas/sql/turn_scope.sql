-- turn_scope: turn the emergency switch of one organisation on until an instant, or off.
-- index: feature_flags_pkey (organisation_id, flag)
-- why: a trigger writes every turn into the audit, this one and those by hand.
insert into feature_flags (
    organisation_id, flag, enabled, expires_at, reason, changed_by, changed_at
)
values (
    %(organisation_id)s, %(flag)s, %(until)s::timestamptz is not null, %(until)s, %(reason)s,
    %(actor_id)s, %(now)s
)
on conflict (organisation_id, flag) do update
set enabled = excluded.enabled,
    expires_at = excluded.expires_at,
    reason = excluded.reason,
    changed_by = excluded.changed_by,
    changed_at = excluded.changed_at
