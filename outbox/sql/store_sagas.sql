-- store_sagas: instances' next versions, in the transaction that holds their locks.
-- index: saga_pk (id)
-- why: compare-and-set on the version, so that a lost lock cannot overwrite.
update outbox.saga as s
set state = u.state, state_version = u.state_version, version = u.version, timers = u.timers,
    parked_why = u.parked_why,
    changed_at = coalesce(%(now)s::timestamptz, now()),
    ended_at = case when u.ended then coalesce(%(now)s::timestamptz, now()) end
from unnest(
    %(ids)s::bigint[], %(versions_before)s::bigint[], %(versions)s::bigint[], %(states)s::jsonb[],
    %(state_versions)s::integer[], %(timers)s::jsonb[], %(endeds)s::boolean[], %(parked_whys)s::text[]
) as u(id, version_before, version, state, state_version, timers, ended, parked_why)
where s.id = u.id and s.version = u.version_before
returning s.id
