-- make_due: let what waits for its backoff be tried now, with the policy's ladder from the start.
-- index: delivery_key_idx (handler, key, position, id)
-- why: leased and unknown deliveries are left as they are.
update outbox.delivery as d
set due_at = coalesce(%(now)s::timestamptz, now()), attempts = 0
where d.handler = %(handler)s
    and d.key = %(key)s
    and d.lease_token is null
    and d.unknown_at is null
    and d.due_at is not null
returning d.id
