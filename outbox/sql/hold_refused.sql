-- hold_refused: hold deliveries whose settlement the handler's `record` refuses.
-- index: delivery_pk (id)
-- why: what its tables do not let through cannot be settled, and trying for ever would repeat the effect for ever.
--      It is held, as an outcome that nobody could write down; the hook is not asked.
with held as (
    update outbox.delivery as d
    set unknown_at = coalesce(%(now)s::timestamptz, now()), last_reason = %(reason)s
    where d.id = any(%(ids)s::bigint[])
        and d.unknown_at is null
        and d.lease_token is not null
        and d.lone_claims >= %(alone_min)s
    returning d.id, d.message_id, d.handler, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select h.id, h.message_id, h.handler, h.attempts + 1, 'unknown', %(reason)s, %(relay)s,
        coalesce(%(now)s::timestamptz, now())
    from held as h
)
select id from held
