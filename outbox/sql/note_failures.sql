-- note_failures: remember which deliveries a destination has just failed; open its breaker where it is enough.
-- index: destination_failure_pk (handler, delivery_id); destination_pk (handler)
-- why: distinct deliveries are counted, over all processes, so that one bad message opens nothing. Only failures
--      are written: a call that ends well costs no statement. `failing`: the process that asks has seen mostly
--      failures itself. `probe_at` tells the one process that opened it. `few`: what others have committed would not
--      do, so what they are about to commit may count (lock_breaker). What is older than the window goes,
--      unless the breaker is open: it is due when that closes.
with noted as (
    insert into outbox.destination_failure as f (handler, delivery_id, failed_at)
    select %(handler)s, u.id, coalesce(%(now)s::timestamptz, now())
    from unnest(%(ids)s::bigint[]) as u(id)
    order by u.id
    on conflict on constraint destination_failure_pk do update set failed_at = excluded.failed_at
), counted as (
    select count(*) as failures
    from outbox.destination_failure as f
    where f.handler = %(handler)s
        and f.failed_at > coalesce(%(now)s::timestamptz, now()) - %(within)s::interval
        and not f.delivery_id = any(%(ids)s::bigint[])
), old as materialized (
    select f.delivery_id
    from outbox.destination_failure as f
    where f.handler = %(handler)s
        and f.failed_at <= coalesce(%(now)s::timestamptz, now()) - %(within)s::interval
        and not f.delivery_id = any(%(ids)s::bigint[])
        and exists (select from outbox.destination as o where o.handler = f.handler and o.breaker_opened_at is null)
    limit 1000
    for update skip locked
), forgotten as (
    delete from outbox.destination_failure as f
    using old as o
    where f.handler = %(handler)s and f.delivery_id = o.delivery_id
), opened as (
    update outbox.destination as d
    set breaker_opened_at = coalesce(%(now)s::timestamptz, now()),
        breaker_reason = %(reason)s,
        breaker_probe_at = coalesce(%(now)s::timestamptz, now()) + %(probe_after)s::interval,
        breaker_probe_token = null,
        breaker_probes = 0
    where d.handler = %(handler)s
        and d.breaker_opened_at is null
        and %(failing)s
        and (select c.failures from counted as c) + cardinality(%(ids)s::bigint[]) >= %(failures_min)s
    returning d.breaker_probe_at
)
select (select o.breaker_probe_at from opened as o) as probe_at,
    c.failures < %(failures_min)s
    and exists (select from outbox.destination as o where o.handler = %(handler)s and o.breaker_opened_at is null)
    and not exists (select from opened) as few
from counted as c
