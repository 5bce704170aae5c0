-- c_keys_receipt: as c_receipt, and a lease of each ordering key, given back in the same transaction
BEGIN;
WITH c AS MATERIALIZED (SELECT * FROM outbox ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED), k AS (INSERT INTO key_lease (handler, key, token, until) SELECT 'h1', key, 'w1', now() + interval '30 s' FROM c ORDER BY key ON CONFLICT DO NOTHING RETURNING key) SELECT array_agg(c.id)::text AS ids, array_agg(c.key)::text AS keys, string_agg(c.topic || c.key || c.payload::text, '') AS body FROM c JOIN k USING (key) \gset
WITH d AS (DELETE FROM outbox WHERE id = ANY(:ids::bigint[]) RETURNING id), f AS (DELETE FROM key_lease WHERE handler = 'h1' AND key = ANY(:keys::text[])) INSERT INTO receipt (delivery_id, attempt, outcome, relay) SELECT id, 1, 'done', 'w1' FROM d;
COMMIT;
