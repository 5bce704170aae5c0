-- count_letters: what a redrive of the same selection would take, by handler, and what it would refuse.
-- index: dead_letter_pk (delivery_id); dead_letter_group_idx (failure_group, died_at, delivery_id);
--        dead_letter_handler_idx (handler, key, delivery_id); dead_letter_died_idx (died_at, delivery_id)
-- why: a dry run gives counts first. What was withdrawn is refused; what another redrive has is left to it.
select l.handler,
    count(*) filter (where l.withdrawn_at is null and l.redrive_id is null) as ready,
    count(*) filter (where l.withdrawn_at is not null) as withdrawn,
    count(*) filter (where l.withdrawn_at is null and l.redrive_id is not null) as under_redrive
from outbox.dead_letter as l
where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
    and (%(failure_group)s::text is null or l.failure_group = %(failure_group)s)
    and (%(handler)s::text is null or l.handler = %(handler)s)
    and (%(key)s::text is null or l.key = %(key)s)
    and (%(since)s::timestamptz is null or l.died_at >= %(since)s)
group by l.handler
order by l.handler
