-- my_alerts: alerts the caller answers for, the newest first, behind the row `before`.
-- index: dashboard_alerts_organisation_idx (organisation_id, opened_at desc)
-- why: whose alerts these are is decided by the policy alone (ALR-1: the mentor's coordinators).
select
    a.id, a.type, a.organisation_id, a.mentor_id, a.text, a.severity, a.hint, a.opened_at, a.due_at,
    a.resolved_at
from dashboard_alerts as a
where (%(state)s = 'all' or (a.resolved_at is null) = (%(state)s = 'open'))
    and (
        %(before)s::uuid is null
        or (a.opened_at, a.id) < (
            select b.opened_at, b.id
            from dashboard_alerts as b
            where b.id = %(before)s
        )
    )
order by a.opened_at desc, a.id desc
limit %(limit)s
