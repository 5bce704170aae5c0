-- newest_ready: the highest id of what is due since its publication, for one handler.
-- index: delivery_ready_idx (handler, id) where due_at is null
-- why: a claim that reached low priorities has looked at everything else; the next one need not walk over the
--      low ones that wait, so its low-water mark goes here.
select d.id
from outbox.delivery as d
where d.handler >= %(handler)s and d.handler <= %(handler)s and d.due_at is null
order by d.handler desc, d.id desc
limit 1
