-- all_transitions: the timeline of one instance, as the runner wrote it.
-- index: saga_transition_pk (saga_id, version)
-- why: a lab compares it with the one in memory.
select saga_id, version, message_id, topic, change, published, armed, cancelled
from outbox.saga_transition
where saga_id = %(saga_id)s
order by version
