-- my_report_items: what a report says of the mentors the caller answers for, danger first.
-- index: reconciliation_items_one_per_mentor (report_id, mentor_id)
-- why: a coordinator reads own mentors, an administrator all: the policy cuts, not this code (RCN-4).
select
    i.mentor_id, i.verdict, i.our_version, i.our_visible, i.portal_version, i.portal_visible,
    i.published_visible, i.lag_seconds, i.action, i.event_id
from reconciliation_items as i
where i.report_id = %(report_id)s
order by
    not (
        i.our_visible is false
        and (coalesce(i.published_visible, false) or coalesce(i.portal_visible, false))
    ),
    i.lag_seconds desc nulls first,
    i.mentor_id
