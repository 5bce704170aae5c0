-- give_back: return leases that were not used; nothing is counted.
-- index: delivery_pk (id)
-- why: a graceful stop, a held destination, or a message version that only other code reads.
update outbox.delivery as d
set lease_token = null, lease_until = null, begun_at = null
where d.id = any(%(ids)s::bigint[]) and d.lease_token = %(token)s and d.unknown_at is null
returning d.id
