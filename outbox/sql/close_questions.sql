-- close_questions: forget questions about deliveries that are being decided about.
-- index: question_pk (delivery_id)
-- why: `token` null: a person decides, and whoever asks comes too late; else only the question that is ours.
delete from outbox.question as q
where q.delivery_id = any(%(ids)s::bigint[]) and (%(token)s::uuid is null or q.token = %(token)s)
returning q.delivery_id
