-- resend_held: send once more, at a person's word, what is held because its outcome is unknown.
-- index: delivery_pk (id); message_pk (id)
-- why: the token is dropped here, so a late answer of the earlier try settles nothing any more; the
--      handler is told that it is a deliberate repeat.
with chosen as (
    update outbox.delivery as d
    set unknown_at = null, begun_at = null, lease_token = null, lease_until = null,
        due_at = coalesce(%(now)s::timestamptz, now()), attempts = 0, lone_claims = 0, resends = d.resends + 1
    where d.id = any(%(ids)s::bigint[]) and d.unknown_at is not null
    returning d.id, d.message_id, d.handler
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, detail, settled_at)
    select c.id, c.message_id, c.handler, 0, 'redriven', null,
        jsonb_build_object('operation', %(operation_id)s::bigint, 'actor', %(actor)s::text), coalesce(%(now)s::timestamptz, now())
    from chosen as c
)
select c.id, c.message_id, c.handler, 0 as attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from chosen as c
inner join outbox.message as m on m.id = c.message_id
order by c.id
