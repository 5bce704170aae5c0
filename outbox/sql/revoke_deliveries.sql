-- revoke_deliveries: close all deliveries of given messages, unknown and leased ones too.
-- index: delivery_message_idx (message_id); message_pk (id); lease_pk (token)
-- why: who holds one of them settles nothing any more, for its row is gone; the call it makes has ended by
--      `flies_until`, and nothing flies under a ticket that no worker has exchanged. Nothing of it can be tried again.
with tickets as materialized (
    select e.token
    from outbox.delivery as d
    inner join outbox.lease as e on e.token = d.lease_token
    where d.message_id = any(%(message_ids)s::bigint[]) and e.queue is not null
), withdrawn as (
    delete from outbox.delivery as d
    where d.message_id = any(%(message_ids)s::bigint[])
    returning d.id, d.message_id, d.handler, d.attempts,
        case when d.unknown_at is null and not d.lease_token = any(array(select t.token from tickets as t)) then d.lease_until end
            as flies_until
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select t.id, t.message_id, t.handler, t.attempts, 'withdrawn', %(reason)s, coalesce(%(now)s::timestamptz, now())
    from withdrawn as t
), parked as (
    delete from outbox.unrouted as u where u.message_id = any(%(message_ids)s::bigint[])
)
select t.id, t.message_id, t.handler, t.attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at, t.flies_until
from withdrawn as t
inner join outbox.message as m on m.id = t.message_id
order by t.id
