-- show_saga: one instance whole.
-- index: saga_pk (id)
-- why: for `saga show`.
select id, name, key, state, state_version, version, timers, parked_why, started_at, changed_at, ended_at
from outbox.saga
where id = %(saga_id)s
