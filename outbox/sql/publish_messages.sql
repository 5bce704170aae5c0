-- publish_messages: publish many messages in the caller's transaction, in one statement.
-- index: route_pk (topic, handler)
-- why: JSON documents instead of arrays: psycopg writes an array's elements one by one in Python, and the
--      server reads them back through as many escapes.
select p.message_ids, p.duplicates, p.deliveries, p.refused
from outbox.publish_messages(
    %(topics)s::text[], %(versions)s::integer[], %(dedup_windows)s::interval[], %(payloads)s::jsonb, %(terms)s::jsonb,
    %(headers)s::jsonb, %(now)s::timestamptz
) as p
