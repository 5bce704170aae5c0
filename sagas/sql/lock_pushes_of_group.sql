-- lock_pushes_of_group: take the deliveries of a group's push that were given up, or are unknown.
-- index: dead_letter_handler_idx (handler, key, delivery_id); delivery_unknown_idx (handler, unknown_at)
-- why: both sets are small, since a person has to look at each of them; no payload is indexed. A
--      settlement has the delivery's row before it writes the log, so that whoever wants both takes
--      this one first; the other way round each would wait for the other.
with letters as materialized (
    select l.delivery_id
    from outbox.dead_letter as l
    inner join outbox.message as m on m.id = l.message_id
    where l.handler = %(handler)s and m.payload ->> 'group_id' = %(group_id)s::uuid::text
    order by l.delivery_id
    for update of l
),
held as materialized (
    select d.id
    from outbox.delivery as d
    inner join outbox.message as m on m.id = d.message_id
    where d.handler = %(handler)s
        and d.unknown_at is not null
        and m.payload ->> 'group_id' = %(group_id)s::uuid::text
    order by d.id
    for update of d
)
select letters.delivery_id
from letters
union all
select held.id
from held
