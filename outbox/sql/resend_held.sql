-- resend_held: send once more, at a person's word, what is held because its outcome is unknown.
-- index: delivery_pk (id)
-- why: the token is dropped here, so a late answer of the earlier try settles nothing any more; the
--      handler is told that it is a deliberate repeat.
with chosen as (
    update outbox.delivery as d
    set unknown_at = null, begun_at = null, lease_token = null, lease_until = null, leased_by = null,
        due_at = coalesce(%(now)s::timestamptz, now()), attempts = 0, resends = d.resends + 1
    where d.id = %(delivery_id)s and d.unknown_at is not null
    returning d.id, d.message_id, d.handler
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select c.id, c.message_id, c.handler, 0, 'redriven', %(actor)s, coalesce(%(now)s::timestamptz, now())
    from chosen as c
)
select id from chosen
