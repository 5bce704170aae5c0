-- mark_begun: note, before the first byte leaves, that ambiguous calls are about to begin.
-- index: delivery_pk (id)
-- why: committed on its own; a crash after it is stored as unknown, a crash before it is an ordinary retry.
--      A lease with less left than the call may take begins nothing.
update outbox.delivery as d
set begun_at = coalesce(%(now)s::timestamptz, now())
where d.id = any(%(ids)s::bigint[])
    and d.lease_token = %(token)s
    and d.lease_until > coalesce(%(now)s::timestamptz, now()) + %(may_take)s::interval
    and d.begun_at is null
returning d.id
