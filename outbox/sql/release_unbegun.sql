-- release_unbegun: free what a dead worker of an ambiguous handler had claimed but not begun.
-- index: delivery_lease_idx (handler, lease_until) where lease_token is not null
-- why: no call had left, so these did not kill the worker; they go back to ordinary claims.
update outbox.delivery as d
set lease_token = null, lease_until = null, leased_by = null
from (
    select id
    from outbox.delivery
    where handler = %(handler)s
        and lease_token is not null
        and lease_until <= coalesce(%(now)s::timestamptz, now())
        and begun_at is null
        and unknown_at is null
    order by lease_until
    limit 1000
    for update skip locked
) as free
where d.id = free.id
