-- claim_reminders: claim the tiers that fired; what anybody claimed before gives no row.
-- index: cert_expiry_reminders_once_per_period (audience, mentor_id, certification_id, threshold_day, certification_expiry_date, notification_window_date)
-- why: the claim comes before the send (DED-1, DED-3; a changed date is another key, DED-11). The loser of a race gets nothing back and sends nothing. All
--      claim in one order, so that two who claim the same wait for each other and not in a circle.
insert into cert_expiry_reminders (
    organisation_id, audience, mentor_id, certification_id, certificate_type, threshold_day,
    threshold_tier, certification_expiry_date, notification_window_start, notification_window_date,
    status, run_id, created_at
)
select
    %(organisation_id)s, %(audience)s, wanted.mentor_id, wanted.certification_id,
    wanted.certificate_type, wanted.threshold_day, wanted.tier, wanted.expiry_date,
    wanted.window_start, wanted.window_date, %(status)s, %(run_id)s, %(now)s
from unnest(
    %(mentor_ids)s::uuid[], %(certification_ids)s::uuid[], %(certificate_types)s::text[],
    %(threshold_days)s::integer[], %(tiers)s::text[], %(expiry_dates)s::date[],
    %(window_starts)s::date[], %(window_dates)s::date[]
) as wanted (
    mentor_id, certification_id, certificate_type, threshold_day, tier, expiry_date, window_start,
    window_date
)
order by wanted.mentor_id, wanted.certification_id, wanted.threshold_day
on conflict on constraint cert_expiry_reminders_once_per_period do nothing
returning id as reminder_id, certification_id
