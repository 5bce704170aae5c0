-- 0008_policy_checks: refuse what no run could follow of an organisation's reminder settings.
-- locks: share row exclusive on notification_policies, for a catalogue change only.
-- yesterday's code: runs; it wrote no such settings. Rows that were written before are not looked at:
--      a run sets an invalid one aside, tells, and goes by the defaults (CFG-5).
set local lock_timeout = '5s';

alter table public.notification_policies
    add constraint notification_policies_per_run_date_tiers_are_tiers_of_it check (
        array_position(per_run_date_tiers, null) is null
        and per_run_date_tiers <@ (thresholds::text[] || 'lapsed'::text)
    ) not valid,
    add constraint notification_policies_lapsed_lookback_is_ten_years_at_most
        check (lapsed_lookback_days <= 3650) not valid;
