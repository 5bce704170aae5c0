-- take_prune_turn: the right to prune in this transaction, which nobody has twice at a time, and its bounds.
-- index: none, no table is read
-- why: deletes lock little and wait for nobody: a second is the most for a lock, ten for the whole. A commit that
--      a crash forgets deletes again, so it need not reach the disk.
select pg_try_advisory_xact_lock(hashtext('outbox'), hashtext('prune')) as mine,
    set_config('lock_timeout', '1s', true), set_config('statement_timeout', '10s', true),
    set_config('synchronous_commit', 'off', true)
