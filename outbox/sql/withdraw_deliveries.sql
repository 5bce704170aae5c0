-- withdraw_deliveries: close deliveries of given messages that have not begun.
-- index: delivery_message_idx (message_id)
-- why: a cancelled timer, or what a saga takes back; a leased one is left to be decided as stale.
with withdrawn as (
    delete from outbox.delivery as d
    where d.message_id = any(%(message_ids)s::bigint[]) and d.lease_token is null
    returning d.id, d.message_id, d.handler, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select w.id, w.message_id, w.handler, w.attempts, 'withdrawn', %(reason)s, coalesce(%(now)s::timestamptz, now())
    from withdrawn as w
)
select message_id from withdrawn
