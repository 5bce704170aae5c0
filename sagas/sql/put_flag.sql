-- put_flag: switch one of an organisation's features on or off; whether it was on before.
-- index: feature_flags_pkey (organisation_id, flag)
-- why: a flag switched by hand has no end date: one that had is on until somebody says otherwise.
with before as (
    select enabled and (expires_at is null or expires_at > %(now)s) as enabled
    from feature_flags
    where organisation_id = %(organisation_id)s and flag = %(flag)s
), put as (
    insert into feature_flags (organisation_id, flag, enabled, reason, changed_by, changed_at)
    values (%(organisation_id)s, %(flag)s, %(enabled)s, %(reason)s, %(actor_id)s, %(now)s)
    on conflict (organisation_id, flag) do update
    set enabled = excluded.enabled,
        expires_at = null,
        reason = excluded.reason,
        changed_by = excluded.changed_by,
        changed_at = excluded.changed_at
)
select coalesce((select enabled from before), false) as enabled
