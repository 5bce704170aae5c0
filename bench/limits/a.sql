-- a: claim and delete in one statement
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED) RETURNING *;
