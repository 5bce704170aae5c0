-- start_sagas: make the instances of some keys, but for those that are open.
-- index: saga_one_open_per_key (name, key) where ended_at is null
-- why: two starters race to one row; the loser finds it by lock_sagas. In the order of keys, as there.
insert into outbox.saga (name, key, state, state_version, version, started_at, changed_at)
select %(name)s, u.key, u.state, %(state_version)s, 1, coalesce(%(now)s::timestamptz, now()),
    coalesce(%(now)s::timestamptz, now())
from unnest(%(keys)s::text[], %(states)s::jsonb[]) as u(key, state)
order by u.key
on conflict (name, key) where ended_at is null do nothing
returning id, name, key, state::text as state, state_version, version, timers, parked_why, ended_at
