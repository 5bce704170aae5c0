-- all_receipts: every receipt, delivery by delivery.
-- index: none, a test's database is small
-- why: a lab shows how attempts ended.
select delivery_id, message_id, handler, attempt, outcome, reason
from outbox.receipt
order by message_id, delivery_id, id
