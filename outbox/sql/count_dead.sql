-- count_dead: what redrive_dead would take.
-- index: dead_letter_pk (delivery_id); dead_letter_handler_idx (handler, key, delivery_id)
-- why: a dry run gives counts first.
select count(*)
from outbox.dead_letter as l
where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
    and (%(handler)s::text is null or l.handler = %(handler)s)
    and (%(key)s::text is null or l.key = %(key)s)
