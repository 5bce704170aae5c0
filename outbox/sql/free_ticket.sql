-- free_ticket: take a ticket back; what is under it is due as it was before.
-- index: delivery_pk (id); lease_pk (token); key_lease_pk (handler, key)
-- why: the broker did not take it, or its destination closed meanwhile. Nothing is counted. A copy that arrives
--      all the same finds no row. What a worker has exchanged carries another token and is not touched.
with freed as (
    update outbox.delivery as d
    set lease_token = null, lease_until = null
    where d.id = any(%(ids)s::bigint[])
        and d.lease_token = %(ticket)s
        and d.begun_at is null
        and d.unknown_at is null
    returning d.id, d.handler, d.key
), keys as (
    delete from outbox.key_lease as k
    using freed as f
    where k.handler = f.handler and k.key = f.key and k.token = %(ticket)s
), closed as (
    delete from outbox.lease as e where e.token = %(ticket)s
)
select id from freed
