-- give_back: return leases that were not used; nothing is counted.
-- index: delivery_pk (id)
-- why: a graceful stop, a held destination, or a message version this code cannot read (`wait` above zero).
update outbox.delivery as d
set lease_token = null, lease_until = null, leased_by = null, begun_at = null,
    due_at = case when %(wait)s::interval > interval '0' then coalesce(%(now)s::timestamptz, now()) + %(wait)s::interval
        else d.due_at end,
    last_reason = case when %(wait)s::interval > interval '0' then 'given_back' else d.last_reason end
where d.id = any(%(ids)s::bigint[]) and d.lease_token = %(token)s and d.unknown_at is null
returning d.id
