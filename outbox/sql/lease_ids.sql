-- lease_ids: lease the given deliveries, already locked by this transaction, to one relay.
-- index: delivery_pk (id)
-- why: newest-only handlers choose their rows first, under the lock of the key's oldest row. A row that
--      a relay without that lock took meanwhile is left out.
with leased as (
    update outbox.delivery as d
    set lease_token = %(token)s,
        lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval,
        leased_by = %(relay)s
    where d.id = any(%(ids)s::bigint[]) and d.lease_token is null
    returning d.*
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_token, l.lease_until, l.due_at is null as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
order by l.id
