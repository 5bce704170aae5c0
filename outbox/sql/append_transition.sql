-- append_transition: one line of the instance's timeline.
-- index: saga_transition_pk (saga_id, version)
-- why: append-only; what came in, what changed, what went out.
insert into outbox.saga_transition (saga_id, version, message_id, topic, change, published, armed, cancelled, at)
values (%(saga_id)s, %(version)s, %(message_id)s, %(topic)s, %(change)s::jsonb, %(published)s, %(armed)s::jsonb,
    %(cancelled)s, coalesce(%(now)s::timestamptz, now()))
