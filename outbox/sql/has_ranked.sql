-- has_ranked: whether anything of this handler that is due since its publication has a priority of its own.
-- index: delivery_ranked_idx (handler, priority DESC, id)
-- why: asked with every full look, so that claims ask for ranks only where there are some.
select 1
from outbox.delivery as d
where d.handler = %(handler)s and d.due_at is null and d.priority <> 0 and d.key is null
order by d.priority desc, d.id
limit 1
