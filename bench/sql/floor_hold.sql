-- floor_hold: lock a batch of the limits' plain table; the locks are the lease.
-- index: outbox_pkey (id)
-- why: `c_receipt` of bench/limits with its rows sent to a client.
select id, topic, key, payload::text, attempts, created_at from outbox order by id limit %(batch)s for update skip locked
