-- list_receipts: the trace of one delivery.
-- index: receipt_message_idx (message_id, id)
-- why: receipts are found by their message, which explain knows or asks for first.
select r.id, r.delivery_id, r.message_id, r.handler, r.attempt, r.outcome, r.reason, r.relay, r.detail, r.settled_at
from outbox.receipt as r
where r.message_id = coalesce(
        %(message_id)s::bigint,
        (select o.message_id from outbox.receipt as o where o.delivery_id = %(delivery_id)s limit 1)
    )
    and r.delivery_id = %(delivery_id)s
order by r.id
