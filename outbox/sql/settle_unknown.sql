-- settle_unknown: hold deliveries whose call may have happened.
-- index: delivery_pk (id)
-- why: the token stays; nobody claims it again until a human or the handler's policy decides.
with held as (
    select u.id, u.token, u.reason
    from unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(reasons)s::text[]) as u(id, token, reason)
), settled as (
    update outbox.delivery as d
    set unknown_at = coalesce(%(now)s::timestamptz, now()), last_reason = h.reason
    from held as h
    where d.id = h.id and d.lease_token = h.token and d.unknown_at is null
    returning d.id, d.message_id, d.attempts, h.reason
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts + 1, 'unknown', s.reason, %(relay)s,
        coalesce(%(now)s::timestamptz, now())
    from settled as s
)
select id from settled
