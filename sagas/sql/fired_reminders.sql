-- fired_reminders: which of the wanted reminders have fired before, whoever claimed them.
-- index: cert_expiry_reminders_tier_idx (mentor_id, certificate_type, threshold_tier, notification_window_start)
-- why: lets a run skip early and name both runs of a duplicate; correctness rests on the constraint
--      (DED-4, PRF-3).
select
    r.id as reminder_id, r.certification_id, r.status, r.run_id, r.created_at
from unnest(
    %(mentor_ids)s::uuid[], %(certification_ids)s::uuid[], %(certificate_types)s::text[],
    %(tiers)s::text[], %(expiry_dates)s::date[], %(window_starts)s::date[], %(window_dates)s::date[]
) as wanted (
    mentor_id, certification_id, certificate_type, tier, expiry_date, window_start, window_date
)
inner join cert_expiry_reminders as r
    on r.mentor_id = wanted.mentor_id
    and r.certificate_type = wanted.certificate_type
    and r.threshold_tier = wanted.tier
    and r.notification_window_start = wanted.window_start
where r.audience = %(audience)s
    and r.certification_id = wanted.certification_id
    and r.certification_expiry_date = wanted.expiry_date
    and r.notification_window_date = wanted.window_date
