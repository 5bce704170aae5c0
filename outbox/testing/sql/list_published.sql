-- list_published: the messages of one topic and version, oldest first.
-- index: message_pk (id)
-- why: a test asks what was published; the engine itself never looks for a topic.
select id, payload::text as payload, key, sequence, correlation_id, created_at
from outbox.message
where topic = %(topic)s and version = %(version)s
order by id
