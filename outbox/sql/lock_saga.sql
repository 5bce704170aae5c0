-- lock_saga: the open instance of a key, locked for this transaction.
-- index: saga_one_open_per_key (name, key) where ended_at is null
-- why: the row lock is what serialises an instance, whoever runs it.
select id, name, key, state::text as state, state_version, version, timers, ended_at
from outbox.saga
where name = %(name)s and key = %(key)s and ended_at is null
for update
