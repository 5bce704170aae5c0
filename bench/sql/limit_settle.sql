-- limit_settle: remove what is still leased to us and keep a receipt of each.
-- index: delivery_pk (id)
-- why: the second of two commits per batch.
with settled as (
    delete from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[]) and d.lease_token = %(token)s
    returning d.id, d.message_id
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, settled_at)
    select s.id, s.message_id, %(handler)s, 1, 'done', now()
    from settled as s
)
select count(*) from settled
