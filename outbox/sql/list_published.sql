-- list_published: messages of some topics that one saga instance has published.
-- index: saga_transition_pk (saga_id, version); message_pk (id)
-- why: the timeline knows what went out; the messages know their topic.
select m.id
from outbox.saga_transition as t
cross join lateral unnest(t.published) as p(message_id)
inner join outbox.message as m on m.id = p.message_id
where t.saga_id = %(saga_id)s and m.topic = any(%(topics)s::text[])
