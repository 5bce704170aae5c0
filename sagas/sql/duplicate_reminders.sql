-- duplicate_reminders: periods for which somebody was reminded, or told, more than once.
-- index: cert_expiry_reminders_run_idx (run_id)
-- why: by natural key, independent of the constraint that should make it impossible. A reminder
--      whose window date is not the day its tier opened was meant to fire daily and is left out.
--      With a run only what that run touched is looked at.
with touched as (
    select distinct
        r.audience, r.mentor_id, r.certification_id, r.certification_expiry_date, r.threshold_day
    from cert_expiry_reminders as r
    where r.organisation_id = %(organisation_id)s
        and (%(run_id)s::uuid is null or r.run_id = %(run_id)s)
),
alike as (
    select r.*
    from touched
    inner join cert_expiry_reminders as r
        using (audience, mentor_id, certification_id, certification_expiry_date, threshold_day)
    where r.notification_window_date = r.notification_window_start
)
select
    'reminder' as kind, null::uuid as recipient_id, audience, mentor_id, certification_id,
    threshold_tier as tier, count(*) as occurrences
from alike
group by audience, mentor_id, certification_id, certification_expiry_date, threshold_tier
having count(*) > 1
union all
select
    'push', l.recipient_id, l.audience, l.mentor_id, l.cert_id, l.threshold_tier, count(*)
from alike
inner join cert_notification_log as l on l.reminder_id = alike.id
where l.channel = 'push' and l.status = 'delivered'
group by
    l.audience, l.recipient_id, l.mentor_id, l.cert_id, l.certification_expiry_date,
    l.threshold_tier
having count(*) > 1
order by 1, 4, 5
