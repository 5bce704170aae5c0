-- start_saga: make the instance of a key, unless one is open.
-- index: saga_one_open_per_key (name, key) where ended_at is null
-- why: two starters race to one row; the loser finds it by lock_saga.
insert into outbox.saga (name, key, state, state_version, version, started_at, changed_at)
values (%(name)s, %(key)s, %(state)s::jsonb, %(state_version)s, 1, coalesce(%(now)s::timestamptz, now()),
    coalesce(%(now)s::timestamptz, now()))
on conflict (name, key) where ended_at is null do nothing
returning id
