-- put_policy: write one audience's policy of an organisation.
-- index: notification_policies_one_per_audience (organisation_id, audience)
-- why: the table's checks are those of sagas.policy; whoever writes past Python meets them here.
insert into notification_policies (
    organisation_id, audience, thresholds, lapsed, cadence, per_run_date_tiers, grouping, in_doubt,
    lapsed_lookback_days, guard_hours, updated_at, updated_by
)
values (
    %(organisation_id)s, %(audience)s, %(thresholds)s, %(lapsed)s, %(cadence)s,
    %(per_run_date_tiers)s, %(grouping)s, %(in_doubt)s, %(lapsed_lookback_days)s, %(guard_hours)s,
    %(now)s, %(actor_id)s
)
on conflict (organisation_id, audience) do update
set thresholds = excluded.thresholds,
    lapsed = excluded.lapsed,
    cadence = excluded.cadence,
    per_run_date_tiers = excluded.per_run_date_tiers,
    grouping = excluded.grouping,
    in_doubt = excluded.in_doubt,
    lapsed_lookback_days = excluded.lapsed_lookback_days,
    guard_hours = excluded.guard_hours,
    updated_at = excluded.updated_at,
    updated_by = excluded.updated_by
