-- lock_sagas: the open instances of some keys, locked for this transaction.
-- index: saga_one_open_per_key (name, key) where ended_at is null
-- why: the row lock is what serialises an instance, whoever runs it. In the order of keys, so that two
--      batches never wait for each other in a ring.
select id, name, key, state::text as state, state_version, version, timers, parked_why, ended_at
from outbox.saga
where name = %(name)s and key = any(%(keys)s::text[]) and ended_at is null
order by key
for update
