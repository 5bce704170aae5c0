-- store_saga: the instance's next version, in the transaction that holds its lock.
-- index: saga_pk (id)
-- why: compare-and-set on the version, so that a lost lock cannot overwrite.
update outbox.saga
set state = %(state)s::jsonb, state_version = %(state_version)s, version = version + 1, timers = %(timers)s::jsonb,
    changed_at = coalesce(%(now)s::timestamptz, now()),
    ended_at = case when %(ended)s then coalesce(%(now)s::timestamptz, now()) end
where id = %(saga_id)s and version = %(version)s
returning version
