-- note_questions: plan to ask receivers about deliveries that have just become unknown.
-- index: delivery_pk (id); question_pk (delivery_id)
-- why: in the transaction that made them unknown. A second unknown of the same delivery is about another call,
--      known by its token, and begins anew.
insert into outbox.question as q (delivery_id, handler, call_token, due_at)
select d.id, d.handler, d.lease_token, coalesce(%(now)s::timestamptz, now()) + %(wait)s::interval
from outbox.delivery as d
where d.id = any(%(ids)s::bigint[]) and d.unknown_at is not null and d.lease_token is not null
on conflict on constraint question_pk do update
set call_token = excluded.call_token, due_at = excluded.due_at, token = null, asked = 0, last_answer = null
