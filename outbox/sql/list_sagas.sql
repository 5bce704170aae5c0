-- list_sagas: instances, the ones changed last first.
-- index: none, a list for people bounded by `limit`
-- why: for `saga list`.
select id, name, key, state_version, version, parked_why, started_at, changed_at, ended_at
from outbox.saga
where %(name)s::text is null or name = %(name)s
order by changed_at desc
limit %(limit)s
