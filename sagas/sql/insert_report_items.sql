-- insert_report_items: keep what a report says of each mentor who is not in sync.
-- index: reconciliation_items_one_per_mentor (report_id, mentor_id)
-- why: those in sync stand in the report's totals alone, or a large organisation would fill the
--      table every hour.
insert into reconciliation_items (
    report_id, mentor_id, verdict, our_version, our_visible, portal_version, portal_visible,
    published_visible, lag_seconds, action, event_id
)
select %(report_id)s, wanted.*
from unnest(
    %(mentor_ids)s::uuid[], %(verdicts)s::text[], %(our_versions)s::bigint[],
    %(our_visibles)s::boolean[], %(portal_versions)s::bigint[], %(portal_visibles)s::boolean[],
    %(published_visibles)s::boolean[], %(lags)s::bigint[], %(actions)s::text[],
    %(event_ids)s::bigint[]
) as wanted (
    mentor_id, verdict, our_version, our_visible, portal_version, portal_visible,
    published_visible, lag_seconds, action, event_id
)
