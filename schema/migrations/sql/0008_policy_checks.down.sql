-- 0008_policy_checks: let the table take any tiers and any lookback again.
-- locks: access exclusive on notification_policies, for a catalogue change only.
set local lock_timeout = '5s';

alter table public.notification_policies
    drop constraint notification_policies_per_run_date_tiers_are_tiers_of_it,
    drop constraint notification_policies_lapsed_lookback_is_ten_years_at_most;
