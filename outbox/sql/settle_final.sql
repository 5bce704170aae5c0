-- settle_final: end deliveries for good, each fenced by its token: receipt written, delivery removed.
-- index: delivery_pk (id); lease_pk (token)
-- why: a row whose token is no longer ours is not touched and not returned; its new holder's outcome counts.
--      `locked`: claim_held took them in this transaction, whose row locks are the fence.
with held as (
    select u.id, u.token, u.outcome, u.reason, u.detail
    from unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(outcomes)s::text[], %(reasons)s::text[], %(details)s::jsonb[])
        as u(id, token, outcome, reason, detail)
), settled as (
    delete from outbox.delivery as d
    using held as h
    where d.id = h.id and (d.lease_token = h.token or %(locked)s and d.lease_token is null)
    returning d.id, d.message_id, d.attempts, h.token, h.outcome, h.reason, h.detail
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, detail, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts + 1, s.outcome, s.reason, %(relay)s, s.detail,
        coalesce(%(now)s::timestamptz, now())
    from settled as s
), closed as (
    delete from outbox.lease as e
    where e.token = any(%(tokens)s::uuid[])
        and (%(locked)s or cardinality(e.deliveries) = (select count(*) from settled as s where s.token = e.token))
)
select id from settled
