-- settle_retry: end attempts that will be repeated; the delivery falls due again after its wait.
-- index: delivery_pk (id)
-- why: an attempt that was not spent (held destination, rejected credentials) leaves no receipt and no count.
with held as (
    select u.id, u.token, u.wait, u.reason, u.spent
    from unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(waits)s::interval[], %(reasons)s::text[], %(spents)s::boolean[])
        as u(id, token, wait, reason, spent)
), settled as (
    update outbox.delivery as d
    set lease_token = null, lease_until = null, begun_at = null, unknown_at = null, lone_claims = 0,
        due_at = coalesce(%(now)s::timestamptz, now()) + h.wait,
        attempts = d.attempts + h.spent::integer,
        last_reason = coalesce(h.reason, 'retry')
    from held as h
    where d.id = h.id and d.lease_token = h.token
    returning d.id, d.message_id, d.attempts, h.reason, h.spent
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts, 'retry', s.reason, %(relay)s, coalesce(%(now)s::timestamptz, now())
    from settled as s
    where s.spent
)
select id from settled
