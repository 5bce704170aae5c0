-- make_delivery_due: the same for one delivery.
-- index: delivery_pk (id)
-- why: leased and unknown deliveries are left as they are.
update outbox.delivery as d
set due_at = coalesce(%(now)s::timestamptz, now()), attempts = 0
where d.id = %(delivery_id)s and d.lease_token is null and d.unknown_at is null
returning d.id
