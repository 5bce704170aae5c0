-- find_strangers: handlers that have something waiting, or a route, and that nobody there knows.
-- index: delivery_ready_idx (handler, id) where due_at is null; delivery_due_idx (handler, due_at, id)
-- why: a handler that was renamed leaves its deliveries behind, and its routes go on filling them. Known are those
--      of the program that asks and those of any relay seen in the last minute. What belongs to another application is none of ours.
select s.handler,
    array(select r.topic from outbox.route as r where r.handler = s.handler order by r.topic) as topics,
    (select count(*) from outbox.delivery as d where d.handler = s.handler and d.due_at is null)
    + (select count(*) from outbox.delivery as d where d.handler = s.handler and d.due_at is not null) as waiting
from (
    select r.handler from outbox.route as r union select o.handler from outbox.destination as o
) as s
where not s.handler = any(%(handlers)s::text[])
    and not exists (
        select from outbox.destination as o where o.handler = s.handler and o.application <> %(application)s::text
    )
    and not exists (
        select from outbox.relay as r
        where s.handler = any(r.handlers) and r.seen_at > clock_timestamp() - interval '1 minute'
    )
    and (
        exists (select from outbox.route as r where r.handler = s.handler)
        or exists (select from outbox.delivery as d where d.handler = s.handler and d.due_at is null)
        or exists (select from outbox.delivery as d where d.handler = s.handler and d.due_at is not null)
    )
order by s.handler
