-- concerned_by_delivery: whom a delivery concerns, waiting or dead.
-- index: delivery_pk (id); dead_letter_pk (delivery_id)
-- why: rights follow the mentor its key names; a key that names none leaves it to administrators.
select m.key, d.waiting
from (
    select message_id, true as waiting from outbox.delivery where id = %(delivery_id)s
    union all
    select message_id, false as waiting from outbox.dead_letter where delivery_id = %(delivery_id)s
) as d
inner join outbox.message as m on m.id = d.message_id
