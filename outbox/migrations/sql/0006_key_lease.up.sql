-- 0006_key_lease: the lease of a key costs one row with one index entry, and no WAL.
-- locks: ACCESS EXCLUSIVE on outbox.key_lease while it is written again; it holds what is under way, no more.
-- yesterday's code: runs on it; it looks for a token without an index.
--
-- Between two claims that race for a key this table decides. Once a claim has committed, the leased delivery
-- at the head of the key says the same, so a server that crashed and comes back with this table empty lets
-- nobody take a key that is in somebody's hands.
set local lock_timeout = '5s';

-- The table is rewritten under the same lock anyway and holds a few thousand rows at most.
-- squawk-ignore require-concurrent-index-deletion
drop index outbox.key_lease_token_idx;
alter table outbox.key_lease set unlogged;
