-- 0012_priority: indexes of what has a priority of its own, by rank and by age.
-- locks: delivery against writes while the index is built, a second per million of waiting rows at most.
-- yesterday's code: runs, and looks at no priority.
set local lock_timeout = '5s';

-- Empty where nobody gives a priority: such a row costs nothing here, and a claim one look at an empty index. A row
-- with a key goes by its key's order. Nothing that a claim or a settlement changes is in it (HOT).
-- squawk-ignore require-concurrent-index-creation
create index delivery_ranked_idx on outbox.delivery (handler, priority desc, id)
where due_at is null and priority <> 0 and key is null;
-- squawk-ignore require-concurrent-index-creation
create index delivery_ranked_age_idx on outbox.delivery (handler, id)
where due_at is null and priority <> 0 and key is null;
