-- limit_claim: lease 1,000 deliveries with their payloads, and nothing else the engine does.
-- index: delivery_ready_idx (handler, id) where due_at is null
-- why: the first of two commits per batch of the fastest way we know to fence and keep a receipt.
with picked as materialized (
    select d.id
    from outbox.delivery as d
    where d.handler = %(handler)s and d.due_at is null and d.id > %(after)s and d.lease_token is null
    order by d.id
    limit %(limit)s
    for update skip locked
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s, lease_until = now() + interval '30 s'
    from picked
    where d.id = picked.id
    returning d.id, d.message_id
)
select l.id, m.payload::text as payload
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
