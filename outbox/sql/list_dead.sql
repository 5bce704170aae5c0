-- list_dead: dead letters of a selection, the latest first.
-- index: dead_letter_pk (delivery_id); dead_letter_group_idx (failure_group, died_at, delivery_id);
--        dead_letter_handler_idx (handler, key, delivery_id); dead_letter_died_idx (died_at, delivery_id); message_pk (id)
-- why: ids, codes and frames; no payload, and no text that is not ours.
select l.delivery_id, l.message_id, l.handler, m.topic, l.failure_group, l.attempts, l.reason, l.error_type,
    l.sqlstate, l.frame, l.died_at, l.redrive_id, l.withdrawn_at
from outbox.dead_letter as l
inner join outbox.message as m on m.id = l.message_id
where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
    and (%(failure_group)s::text is null or l.failure_group = %(failure_group)s)
    and (%(handler)s::text is null or l.handler = %(handler)s)
    and (%(key)s::text is null or l.key = %(key)s)
    and (%(since)s::timestamptz is null or l.died_at >= %(since)s)
order by l.died_at desc, l.delivery_id desc
limit %(limit)s
