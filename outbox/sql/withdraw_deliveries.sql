-- withdraw_deliveries: close deliveries of given messages that have not begun, and mark their dead letters.
-- index: delivery_message_idx (message_id); dead_letter_message_idx (message_id); message_pk (id);
--        lease_pk (token); key_lease_pk (handler, key); unrouted_pk (message_id)
-- why: a cancelled timer, or what a saga takes back; a leased one is left to be decided as stale. What is under a
--      ticket that no worker has exchanged has not begun: the copy that arrives finds nothing, and its key is free
--      unless the ticket holds more of it. Its lease row stays until it runs out, since free_tickets locks that
--      first. A dead letter of what was taken back stays to be looked at, and no redrive raises it.
with tickets as materialized (
    select e.token
    from outbox.delivery as d
    inner join outbox.lease as e on e.token = d.lease_token
    where d.message_id = any(%(message_ids)s::bigint[]) and e.queue is not null
), withdrawn as (
    delete from outbox.delivery as d
    where d.message_id = any(%(message_ids)s::bigint[])
        and (
            d.lease_token is null
            or d.lease_token = any(array(select t.token from tickets as t)) and d.begun_at is null and d.unknown_at is null
        )
    returning d.id, d.message_id, d.handler, d.attempts, d.key, d.lease_token
), keys as (
    delete from outbox.key_lease as k
    using withdrawn as w
    where k.handler = w.handler
        and k.key = w.key
        and k.token = w.lease_token
        and not exists (
            select from outbox.delivery as o
            where o.handler = w.handler
                and o.key = w.key
                and o.lease_token = w.lease_token
                and not o.id = any(select x.id from withdrawn as x)
        )
), parked as (
    delete from outbox.unrouted as u where u.message_id = any(%(message_ids)s::bigint[])
), letters as (
    update outbox.dead_letter as l
    set withdrawn_at = coalesce(%(now)s::timestamptz, now()), redrive_id = null
    where l.message_id = any(%(message_ids)s::bigint[]) and l.withdrawn_at is null
    returning l.delivery_id as id, l.message_id, l.handler, l.attempts
), taken_back as (
    select w.id, w.message_id, w.handler, w.attempts from withdrawn as w
    union all
    select l.id, l.message_id, l.handler, l.attempts from letters as l
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select t.id, t.message_id, t.handler, t.attempts, 'withdrawn', %(reason)s, coalesce(%(now)s::timestamptz, now())
    from taken_back as t
)
select t.id, t.message_id, t.handler, t.attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from taken_back as t
inner join outbox.message as m on m.id = t.message_id
order by t.id
