-- split_tickets: make several tickets, which go to one queue, of the lease just claimed.
-- index: delivery_pk (id); lease_pk (token); key_lease_pk (handler, key)
-- why: one claim for all that workers have room for, and tickets small enough that a worker takes one as soon as a
--      few slots are free. In the claim's transaction, as mark_ticket; a key's deliveries are all under one ticket.
with parts as (
    select p.id, p.ticket from unnest(%(ids)s::bigint[], %(tickets)s::uuid[]) as p(id, ticket)
), moved as (
    update outbox.delivery as d
    set lease_token = p.ticket
    from parts as p
    where d.id = p.id and d.lease_token = %(token)s
    returning d.id, d.key, d.lease_token, d.lease_until
), keys as (
    update outbox.key_lease as k
    set token = m.lease_token
    from moved as m
    where k.handler = %(handler)s and k.key = m.key and k.token = %(token)s
), closed as (
    delete from outbox.lease as e where e.token = %(token)s
)
insert into outbox.lease (token, handler, relay, until, deliveries, queue)
select m.lease_token, %(handler)s, %(relay)s, min(m.lease_until), array_agg(m.id), %(queue)s
from moved as m
group by m.lease_token
