-- settle_done: end deliveries that were simply done, all of them under one token.
-- index: delivery_pk (id); lease_pk (token)
-- why: what nearly every settlement is, without the columns that are the same for each. A row whose token
--      is no longer ours is not touched and not returned. The lease goes when this was all it covered.
with settled as (
    delete from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[]) and d.lease_token = %(token)s
    returning d.id, d.message_id, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, relay, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts + 1, 'done', %(relay)s, coalesce(%(now)s::timestamptz, now())
    from settled as s
), closed as (
    delete from outbox.lease as e
    where e.token = %(token)s and cardinality(e.deliveries) = (select count(*) from settled)
)
select id from settled
