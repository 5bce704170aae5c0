-- all_sagas: every instance of one saga, ended ones too.
-- index: none, a test's database is small
-- why: a lab shows all lives of a key.
select id, name, key, state::text as state, state_version, version, timers, parked_why, ended_at
from outbox.saga
where name = %(name)s
order by id
