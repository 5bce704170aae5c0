-- revoke_letters: mark dead letters of given messages as withdrawn, so that no redrive can run them.
-- index: dead_letter_message_idx (message_id); message_pk (id)
-- why: what a saga undoes must not be done later. Before revoke_deliveries: a redrive that is under way is
--      waited for here, and its delivery is found there; and after it, for what died while it was waited for.
with letters as (
    update outbox.dead_letter as l
    set withdrawn_at = coalesce(%(now)s::timestamptz, now()), redrive_id = null
    where l.message_id = any(%(message_ids)s::bigint[]) and l.withdrawn_at is null
    returning l.delivery_id as id, l.message_id, l.handler, l.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select t.id, t.message_id, t.handler, t.attempts, 'withdrawn', %(reason)s, coalesce(%(now)s::timestamptz, now())
    from letters as t
)
select t.id, t.message_id, t.handler, t.attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from letters as t
inner join outbox.message as m on m.id = t.message_id
order by t.id
