-- list_routes: where each topic goes, and how much of it waits there.
-- index: none, a full count for people
-- why: what waits without a route is told too: it was published before the route was dropped.
with waiting as (
    select m.topic, d.handler, count(*) as waiting, count(*) filter (where d.lease_token is not null) as leased
    from outbox.delivery as d
    inner join outbox.message as m on m.id = d.message_id
    where not starts_with(m.topic, 'outbox.')
    group by m.topic, d.handler
)
select coalesce(r.topic, w.topic) as topic, coalesce(r.handler, w.handler) as handler, r.ordered, r.added_at,
    coalesce(w.waiting, 0) as waiting, coalesce(w.leased, 0) as leased
from outbox.route as r
full join waiting as w on w.topic = r.topic and w.handler = r.handler
order by 1, 2
