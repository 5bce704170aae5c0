-- floor_lease: lease a batch of the limits' plain table.
-- index: outbox_pkey (id)
-- why: `bcur_receipt` of bench/limits with its rows sent to a client.
with c as materialized (
    select id from outbox
    where id > %(last)s and (lease_until is null or lease_until < now())
    order by id
    limit %(batch)s
    for update skip locked
)
update outbox as o
set lease_until = now() + interval '30 s', leased_by = 'w1', attempts = attempts + 1
from c
where o.id = c.id
returning o.id, o.topic, o.key, o.payload::text, o.attempts, o.created_at
