-- mark_letters: give the chosen dead letters to a redrive.
-- index: dead_letter_pk (delivery_id); dead_letter_group_idx (failure_group, died_at, delivery_id);
--        dead_letter_handler_idx (handler, key, delivery_id); dead_letter_died_idx (died_at, delivery_id)
-- why: what is redriven is decided once, when a person says so; letters that die later are not among it.
with marked as (
    update outbox.dead_letter as l
    set redrive_id = %(operation_id)s
    where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
        and (%(failure_group)s::text is null or l.failure_group = %(failure_group)s)
        and (%(handler)s::text is null or l.handler = %(handler)s)
        and (%(key)s::text is null or l.key = %(key)s)
        and (%(since)s::timestamptz is null or l.died_at >= %(since)s)
        and l.handler = any(%(handlers)s::text[])
        and l.withdrawn_at is null
        and l.redrive_id is null
    returning l.delivery_id
)
select count(*) from marked
