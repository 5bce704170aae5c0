-- c: row locks held, delete in the same transaction
BEGIN;
SELECT array_agg(id)::text AS ids, string_agg(topic || key || payload::text, '') AS body FROM (SELECT * FROM outbox ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED) s \gset
DELETE FROM outbox WHERE id = ANY(:ids::bigint[]);
COMMIT;
