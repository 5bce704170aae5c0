-- report_facts: what a reconciliation report says beside its items.
-- index: notification_groups_open_idx (organisation_id, status) where status in ('queued', 'sending', 'failed', 'unknown')
-- why: pushes nobody can account for, pushes given up, open alerts, and the last word of each check.
select
    (
        select count(*)
        from notification_groups as g
        where g.organisation_id = %(organisation_id)s and g.status = 'unknown'
    ) as unknown_pushes,
    (
        select count(*)
        from notification_groups as g
        where g.organisation_id = %(organisation_id)s and g.status = 'failed'
    ) as failed_pushes,
    (
        select count(*)
        from dashboard_alerts as a
        where a.organisation_id = %(organisation_id)s and a.resolved_at is null
    ) as open_alerts,
    (
        select coalesce(jsonb_object_agg(latest.integration, latest.outcome), '{}')
        from (
            select distinct on (c.integration) c.integration, c.outcome
            from credential_checks as c
            order by c.integration, c.checked_at desc, c.id desc
        ) as latest
    ) as credential_status
