-- publish_message: publish one message in the caller's transaction.
-- index: route_pk (topic, handler)
-- why: the function in the database is the one door, for this library and for any other language. Every
--      parameter is sent as text or null, so that one prepared statement serves every call.
select p.message_id, p.duplicate, p.deliveries, p.refused
from outbox.publish_message(
    %(topic)s::text, %(payload)s::jsonb, %(key)s::text, %(dedup_key)s::text, %(due_at)s::timestamptz, %(sequence)s::bigint,
    %(correlation_id)s::text, %(version)s::integer, %(headers)s::jsonb, %(priority)s::smallint, %(dedup_window)s::interval,
    null, null, %(now)s::timestamptz
) as p
