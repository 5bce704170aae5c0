-- take_over: give leased deliveries of a handler to somebody else, as a worker does after an expiry.
-- index: lease_expiry_idx (handler, until); delivery_pk (id)
-- why: a test lets a lease be lost without waiting for it; what a held batch has locked cannot be lost.
with listed as (
    select unnest(deliveries) as id
    from outbox.lease
    where handler = %(handler)s
),
leased as (
    select d.id
    from outbox.delivery as d
    inner join listed on listed.id = d.id
    where d.lease_token is not null and d.unknown_at is null
    for update of d skip locked
)
update outbox.delivery as d
set lease_token = gen_random_uuid()
from leased
where d.id = leased.id
