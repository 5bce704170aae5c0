-- depth: how many deliveries of each handler wait, are leased, unknown or dead.
-- index: none, one pass over what waits and one over what is dead
-- why: for people who watch and for gauges, no oftener than it costs; receipts are not counted.
select coalesce(d.handler, l.handler) as handler,
    coalesce(d.pending, 0) as pending, coalesce(d.leased, 0) as leased, coalesce(d.unknown, 0) as unknown,
    coalesce(l.dead, 0) as dead
from (
    select handler,
        count(*) filter (where lease_token is null and unknown_at is null) as pending,
        count(*) filter (where lease_token is not null and unknown_at is null) as leased,
        count(*) filter (where unknown_at is not null) as unknown
    from outbox.delivery
    group by handler
) as d
full join (
    select handler, count(*) as dead from outbox.dead_letter group by handler
) as l on l.handler = d.handler
order by 1
