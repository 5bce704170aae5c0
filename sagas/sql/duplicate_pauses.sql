-- duplicate_pauses: mentors paused automatically more than once for one certificate period.
-- index: mentor_status_history_one_automatic_pause_per_period
--      (mentor_id, certification_id, certification_expiry_date)
-- why: as duplicate_reminders: found by natural key, independent of the index that forbids it.
select
    'pause' as kind, null::uuid as recipient_id, 'coordinator' as audience, mentor_id,
    certification_id, 'lapsed' as tier, count(*) as occurrences
from mentor_status_history
where organisation_id = %(organisation_id)s
    and source = 'certificate_expired'
    and to_status = 'paused'
group by mentor_id, certification_id, certification_expiry_date
having count(*) > 1
order by mentor_id
