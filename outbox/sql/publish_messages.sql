-- publish_messages: publish rows of equal-length columns in the caller's transaction.
-- index: route_pk (topic, handler)
-- why: the function in the database is the one door, for this library and for any other language.
select p.message_id, p.duplicate, p.deliveries, p.refused
from outbox.publish_messages(
    %(topics)s::text[], %(payloads)s::jsonb[], %(keys)s::text[], %(dedup_keys)s::text[], %(due_ats)s::timestamptz[],
    %(sequences)s::bigint[], %(correlation_ids)s::text[], %(versions)s::integer[], %(headers)s::jsonb[],
    %(priorities)s::smallint[], %(dedup_windows)s::interval[], %(now)s::timestamptz
) as p
