-- policy_rows: per audience, an organisation's own policy, whether it is in force, and who is alarmed.
-- index: notification_policies_one_per_audience (organisation_id, audience);
--      feature_flags_pkey (organisation_id, flag);
--      dashboard_alerts_one_open_per_subject (type, organisation_id, subject)
-- why: one statement for both audiences; validity is judged by sagas.policy, not here. An audience
--      without a policy of its own has a row too, so that an alert about one since deleted is closed.
select
    asked.audience, own.organisation_id is not null as owned,
    own.thresholds, own.lapsed, own.cadence, own.per_run_date_tiers, own.grouping, own.in_doubt,
    own.lapsed_lookback_days, own.guard_hours,
    exists (
        select
        from feature_flags as f
        where f.organisation_id = %(organisation_id)s
            and f.flag = %(flag)s
            and f.enabled
            and (f.expires_at is null or f.expires_at > %(now)s)
    ) as overrides,
    exists (
        select
        from dashboard_alerts as alert
        where alert.type = 'invalid_policy'
            and alert.organisation_id = %(organisation_id)s
            and alert.subject = asked.audience
            and alert.resolved_at is null
    ) as alerted
from unnest(array['mentor', 'coordinator']) as asked (audience)
left join notification_policies as own
    on own.organisation_id = %(organisation_id)s and own.audience = asked.audience
