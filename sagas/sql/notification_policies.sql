-- notification_policies: an organisation's own policies, and whether they are in force.
-- index: notification_policies_one_per_audience (organisation_id, audience)
-- why: one statement for both audiences; validity is judged by sagas.policy, not here.
select
    p.audience, p.thresholds, p.lapsed, p.cadence, p.per_run_date_tiers, p.grouping, p.in_doubt,
    p.lapsed_lookback_days, p.guard_hours,
    exists (
        select
        from feature_flags as f
        where f.organisation_id = p.organisation_id
            and f.flag = %(flag)s
            and f.enabled
            and (f.expires_at is null or f.expires_at > %(now)s)
    ) as overrides
from notification_policies as p
where p.organisation_id = %(organisation_id)s
