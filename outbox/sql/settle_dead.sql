-- settle_dead: give deliveries up; each becomes a dead letter that can be redriven.
-- index: delivery_pk (id)
-- why: stored are our own reason, the error's type, SQLSTATE and frame; a foreign error's text may quote values.
with held as (
    select u.id, u.token, u.reason, u.error_type, u.sqlstate, u.frame
    from unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(reasons)s::text[], %(error_types)s::text[], %(sqlstates)s::text[],
        %(frames)s::text[]) as u(id, token, reason, error_type, sqlstate, frame)
), settled as (
    delete from outbox.delivery as d
    using held as h
    where d.id = h.id and d.lease_token = h.token
    returning d.id, d.message_id, d.handler, d.key, d.position, d.attempts, h.reason, h.error_type, h.sqlstate, h.frame
), letters as (
    insert into outbox.dead_letter (
        delivery_id, message_id, handler, key, position, attempts, reason, error_type, sqlstate, frame, died_at
    )
    select s.id, s.message_id, s.handler, s.key, s.position, s.attempts + 1, s.reason, s.error_type, s.sqlstate, s.frame,
        coalesce(%(now)s::timestamptz, now())
    from settled as s
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, relay, settled_at)
    select s.id, s.message_id, %(handler)s, s.attempts + 1, 'dead', s.reason, %(relay)s,
        coalesce(%(now)s::timestamptz, now())
    from settled as s
)
select id from settled
