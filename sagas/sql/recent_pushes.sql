-- recent_pushes: which wanted pushes had one like them delivered, or on its way, since `since`.
-- index: cert_notification_log_guard_idx (recipient_id, mentor_id, cert_id, threshold_days)
-- why: the second guard against telling anybody twice, whatever the key says (DED-7). One whose outcome is
--      unknown may have arrived and counts; a failed one does not, or retries would be blocked.
--      Asked row by row of the index: joined as a set, a table that this very transaction fills is
--      joined by recipient alone, and a coordinator has thousands (14 s of a night of 20,000).
select wanted.position, found.run_id
from unnest(
    %(recipient_ids)s::uuid[], %(mentor_ids)s::uuid[], %(certification_ids)s::uuid[],
    %(threshold_days)s::integer[]
) with ordinality as wanted (recipient_id, mentor_id, certification_id, threshold_day, position)
cross join lateral (
    select l.run_id
    from cert_notification_log as l
    where l.recipient_id = wanted.recipient_id
        and l.mentor_id = wanted.mentor_id
        and l.cert_id = wanted.certification_id
        and l.threshold_days = wanted.threshold_day
        and l.channel = 'push'
        and l.status in ('queued', 'sending', 'delivered', 'unknown')
        and coalesce(l.settled_at, l.created_at) > %(since)s
    order by l.created_at desc
    limit 1
) as found
