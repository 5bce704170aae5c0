-- note_batch: say which deliveries a worker has locked, before it tries the first.
-- index: none, an insert
-- why: a transaction of its own, on another connection, so that it outlives a crash: these deliveries are then
--      left alone until the lease has expired, and claimed one by one (mark_suspects). It goes in the commit
--      that settles the batch. That commit alone must reach the disk: a server that crashes has killed nobody.
with quick as materialized (
    select set_config('synchronous_commit', 'off', true)
)
insert into outbox.lease (token, handler, relay, until, deliveries, first_id, last_id)
select %(token)s, %(handler)s, %(relay)s, coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval,
    %(ids)s::bigint[], %(first_id)s, %(last_id)s
from quick
