-- close_leases: forget leases of one handler that have expired and have nothing under them any more.
-- index: lease_expiry_idx (handler, until); delivery_pk (id)
-- why: what is still under an expired lease is found through it, so it stays for as long as that waits for
--      claim_lone or expire_begun. What is held as unknown needs it no longer: the delivery says so itself.
--      Of keys, only what nobody is about to take: a claim locks them in another order than this would.
--      The note of a held batch (first_id) is mark_suspects' alone: this snapshot may not see what that marked.
with expired as materialized (
    select e.token, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s and e.until <= coalesce(%(now)s::timestamptz, now()) and e.first_id is null
    order by e.until
    limit 1000
    for update skip locked
), needed as materialized (
    select distinct x.token
    from expired as x
    cross join lateral unnest(x.deliveries) as u(id)
    inner join outbox.delivery as d on d.id = u.id
    where d.lease_token = x.token and d.unknown_at is null
), unheld as materialized (
    select k.handler, k.key
    from outbox.key_lease as k
    where k.handler = %(handler)s and k.until <= coalesce(%(now)s::timestamptz, now())
    for update skip locked
), keys as (
    delete from outbox.key_lease as k
    using unheld as u
    where k.handler = u.handler and k.key = u.key
)
delete from outbox.lease as e
using expired as x
where e.token = x.token and not x.token = any(select n.token from needed as n)
