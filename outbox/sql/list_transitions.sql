-- list_transitions: the timeline of one instance.
-- index: saga_transition_pk (saga_id, version)
-- why: for `saga show`.
select version, message_id, topic, change, published, armed, cancelled, at
from outbox.saga_transition
where saga_id = %(saga_id)s
order by version
