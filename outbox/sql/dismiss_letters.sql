-- dismiss_letters: close dead letters for good, at a person's word.
-- index: dead_letter_pk (delivery_id); dead_letter_group_idx (failure_group, died_at, delivery_id);
--        dead_letter_handler_idx (handler, key, delivery_id); dead_letter_died_idx (died_at, delivery_id); message_pk (id)
-- why: the message stays and so does every receipt; only the duty ends, as withdrawn.
with dismissed as (
    delete from outbox.dead_letter as l
    where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
        and (%(failure_group)s::text is null or l.failure_group = %(failure_group)s)
        and (%(handler)s::text is null or l.handler = %(handler)s)
        and (%(key)s::text is null or l.key = %(key)s)
        and (%(since)s::timestamptz is null or l.died_at >= %(since)s)
        and l.handler = any(%(handlers)s::text[])
    returning l.delivery_id as id, l.message_id, l.handler, l.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, detail, settled_at)
    select d.id, d.message_id, d.handler, d.attempts, 'withdrawn', 'dismissed',
        jsonb_build_object('operation', %(operation_id)s::bigint), coalesce(%(now)s::timestamptz, now())
    from dismissed as d
)
select d.id, d.message_id, d.handler, d.attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from dismissed as d
inner join outbox.message as m on m.id = d.message_id
order by d.id
