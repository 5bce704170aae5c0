-- 0003_unknown_index, the way down: listing unknowns reads every delivery again.
drop index concurrently if exists outbox.delivery_unknown_idx;
