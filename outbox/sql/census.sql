-- census: how many deliveries of each handler are where.
-- index: none, a full count for people and tests
-- why: pending, leased, unknown and dead add up; done is what receipts say.
select h.handler,
    (select count(*) from outbox.delivery as d
        where d.handler = h.handler and d.lease_token is null) as pending,
    (select count(*) from outbox.delivery as d
        where d.handler = h.handler and d.lease_token is not null and d.unknown_at is null) as leased,
    (select count(*) from outbox.delivery as d
        where d.handler = h.handler and d.unknown_at is not null) as unknown,
    (select count(*) from outbox.dead_letter as l where l.handler = h.handler) as dead,
    (select count(*) from outbox.receipt as r where r.handler = h.handler and r.outcome in ('done', 'suppressed')) as done,
    (select count(*) from outbox.receipt as r
        where r.handler = h.handler and r.outcome in ('superseded', 'withdrawn')) as overtaken,
    (select min(coalesce(d.due_at, m.created_at)) from outbox.delivery as d
        inner join outbox.message as m on m.id = d.message_id
        where d.handler = h.handler and d.unknown_at is null
            and (d.due_at is null or d.due_at <= coalesce(%(now)s::timestamptz, now()))) as oldest_due_at
from (
    select handler from outbox.destination union select handler from outbox.delivery
) as h
order by h.handler
