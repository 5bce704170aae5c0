-- explain_dead: one dead letter with its message.
-- index: dead_letter_pk (delivery_id)
-- why: a delivery that is not waiting may have been given up.
select l.delivery_id, l.message_id, l.handler, l.key, l.attempts, l.reason, l.error_type, l.sqlstate, l.frame, l.died_at,
    m.topic, m.version, m.created_at
from outbox.dead_letter as l
inner join outbox.message as m on m.id = l.message_id
where l.delivery_id = %(delivery_id)s
