-- settle_held: end deliveries that were simply done, all of them locked by this transaction.
-- index: delivery_pk (id); lease_pk (token)
-- why: as settle_done, with the row locks for a fence (P3): claim_held took them in this transaction.
with settled as (
    delete from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[]) and d.lease_token is null
    returning d.id, d.message_id, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, relay, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts + 1, 'done', %(relay)s, coalesce(%(now)s::timestamptz, now())
    from settled as s
), closed as (
    delete from outbox.lease as e where e.token = %(token)s
)
select id from settled
