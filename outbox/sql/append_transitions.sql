-- append_transitions: lines of instances' timelines.
-- index: saga_transition_pk (saga_id, version)
-- why: append-only; what came in, what changed, what went out. One line per version: two that both think
--      they hold the instance cannot both write.
insert into outbox.saga_transition (saga_id, version, message_id, topic, change, published, armed, cancelled, at)
select t.saga_id, t.version, t.message_id, t.topic, t.change, t.published, t.armed, t.cancelled,
    coalesce(%(now)s::timestamptz, now())
from jsonb_to_recordset(%(transitions)s::jsonb) as t(
    saga_id bigint, version bigint, message_id bigint, topic text, change jsonb, published bigint[], armed jsonb,
    cancelled text[]
)
