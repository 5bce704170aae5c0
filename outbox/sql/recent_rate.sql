-- recent_rate: how many deliveries of each handler were settled in the last `span`, from its newest receipts.
-- index: receipt_pk (id)
-- why: for people who watch; a bounded walk from the end, so that it costs the same beside years of receipts.
select r.handler, count(*) as settled,
    least(%(span)s::interval, coalesce(%(now)s::timestamptz, now()) - min(r.settled_at)) as span
from (
    select handler, outcome, settled_at from outbox.receipt order by id desc limit %(limit)s
) as r
where r.settled_at > coalesce(%(now)s::timestamptz, now()) - %(span)s::interval and r.outcome in ('done', 'suppressed')
group by r.handler
order by r.handler
