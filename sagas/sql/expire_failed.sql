-- expire_failed: end the failed pushes of an audience that no run will send again.
-- index: cert_notification_log_open_idx (organisation_id, status) where status in ('queued', 'sending', 'failed', 'unknown')
-- why: runs after requeue_failed, so what is still failed has left its tier or used its attempts.
--      A permanent failure is final as it is and stays visible as failed.
with ended as (
    update cert_notification_log
    set status = 'expired', updated_at = %(now)s
    where organisation_id = %(organisation_id)s
        and audience = %(audience)s
        and channel = 'push'
        and status = 'failed'
        and coalesce(error_class, '') not like all (%(permanent)s::text[])
    returning dispatch_group_id
)
update notification_groups as g
set status = 'expired'
where g.id in (select dispatch_group_id from ended)
    and g.status = 'failed'
