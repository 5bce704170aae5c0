-- explain_dead: one dead letter with its message.
-- index: dead_letter_pk (delivery_id); message_pk (id); redrive_pk (operation_id);
--        dead_letter_group_idx (failure_group, died_at, delivery_id)
-- why: a delivery that is not waiting may have been given up. Its key is not told: it may carry somebody's id.
select l.delivery_id, l.message_id, l.handler, l.attempts, l.reason, l.error_type, l.sqlstate, l.frame, l.died_at,
    l.failure_group, l.redrive_id, l.withdrawn_at,
    (select r.canary_id from outbox.redrive as r where r.operation_id = l.redrive_id) as canary_id,
    (select count(*) from outbox.dead_letter as o where o.failure_group = l.failure_group) as alike,
    m.topic, m.version, m.created_at
from outbox.dead_letter as l
inner join outbox.message as m on m.id = l.message_id
where l.delivery_id = %(delivery_id)s
