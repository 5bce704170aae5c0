-- 0003_unknown_index: find what is held as unknown without reading every delivery.
-- locks: none that anybody waits for; built concurrently, outside a transaction. If it was broken off, drop the
--        invalid index and run it again.
-- yesterday's code: runs.
-- It must be the only statement of its file, so there is no lock_timeout; it waits without keeping anybody waiting.
-- squawk-ignore require-lock-timeout
create index concurrently if not exists delivery_unknown_idx on outbox.delivery (handler, unknown_at)
where unknown_at is not null;
