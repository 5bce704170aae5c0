-- resend_unknown: give held deliveries one deliberate second try (policy resend_once).
-- index: delivery_pk (id)
-- why: the token is dropped here, so a late answer of the first try settles nothing any more.
update outbox.delivery as d
set unknown_at = null, begun_at = null, lease_token = null, lease_until = null,
    due_at = coalesce(%(now)s::timestamptz, now()), attempts = d.attempts + 1, resends = d.resends + 1
where d.id = any(%(ids)s::bigint[]) and d.unknown_at is not null and d.resends = 0
returning d.id
