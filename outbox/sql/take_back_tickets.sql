-- take_back_tickets: take tickets back; what is under them is due as it was before.
-- index: delivery_pk (id); lease_pk (token); key_lease_pk (handler, key)
-- why: the broker did not take them, their destination closed meanwhile, or it is time to stop. Nothing is counted. A
--      copy that arrives all the same finds no row. What a worker has exchanged carries another token and is not
--      touched. Deliveries are locked in one order, as in exchange_tickets.
with found as materialized (
    select d.id, d.key
    from outbox.delivery as d
    where d.id = any(%(ids)s::bigint[])
        and d.lease_token = any(%(tickets)s::uuid[])
        and d.begun_at is null
        and d.unknown_at is null
    order by d.id
    for update
), freed as (
    update outbox.delivery as d
    set lease_token = null, lease_until = null
    from found as f
    where d.id = f.id
    returning d.id, d.handler, d.key
), keys as (
    delete from outbox.key_lease as k
    using freed as f
    where k.handler = f.handler and k.key = f.key and k.token = any(%(tickets)s::uuid[])
), closed as (
    delete from outbox.lease as e where e.token = any(%(tickets)s::uuid[])
)
select id from freed
