-- bcur: as b, the scan starting after the last id taken
WITH c AS MATERIALIZED (SELECT id FROM outbox WHERE id > :last AND (lease_until IS NULL OR lease_until < now()) ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED), u AS (UPDATE outbox o SET lease_until = now() + interval '30 s', leased_by = 'w1', attempts = attempts + 1 FROM c WHERE o.id = c.id RETURNING o.id, o.topic, o.key, o.payload, o.attempts) SELECT array_agg(id)::text AS ids, string_agg(topic || key || payload::text, '') AS body, max(id) AS last FROM u \gset
DELETE FROM outbox WHERE id = ANY(:ids::bigint[]);
