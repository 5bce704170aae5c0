-- c_receipt: as c, and a receipt of each
BEGIN;
SELECT array_agg(id)::text AS ids, string_agg(topic || key || payload::text, '') AS body FROM (SELECT * FROM outbox ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED) s \gset
WITH d AS (DELETE FROM outbox WHERE id = ANY(:ids::bigint[]) RETURNING id) INSERT INTO receipt (delivery_id, attempt, outcome, relay) SELECT id, 1, 'done', 'w1' FROM d;
COMMIT;
