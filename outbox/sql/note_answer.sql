-- note_answer: write down that a receiver could not tell, and when to ask again (null: never).
-- index: question_pk (delivery_id)
-- why: fenced by the question's own token; whoever asked too long finds another's.
update outbox.question as q
set due_at = %(ask_at)s::timestamptz, token = null, last_answer = %(answer)s
where q.delivery_id = %(delivery_id)s and q.token = %(token)s
returning q.delivery_id
