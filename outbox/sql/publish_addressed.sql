-- publish_addressed: publish one message to one handler, past the routes.
-- index: delivery_pk (id)
-- why: timers and reports of sagas are for one instance only.
with published as (
    select p.message_id
    from outbox.publish_message(
        %(topic)s, %(payload)s::jsonb, %(key)s, null, %(due_at)s::timestamptz, null, %(correlation_id)s, 1,
        %(headers)s::jsonb, 0::smallint, null, %(handler)s, %(causation_id)s, %(now)s::timestamptz
    ) as p
)
select message_id from published
