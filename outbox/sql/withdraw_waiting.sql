-- withdraw_waiting: settle as withdrawn what waits of one topic for one handler, of the `window` deliveries after `after`.
-- index: delivery_pk (id); message_pk (id); lease_pk (token)
-- why: at a person's word, when a route is dropped. What is being tried, or held as unknown, is left to its end;
--      under a ticket that no worker has exchanged nothing is being tried.
with looked as materialized (
    select d.id from outbox.delivery as d where d.id > %(after)s order by d.id limit %(window)s
), chosen as materialized (
    select d.id
    from outbox.delivery as d
    inner join outbox.message as m on m.id = d.message_id
    left join outbox.lease as e on e.token = d.lease_token
    where d.id = any(array(select l.id from looked as l))
        and d.handler = %(handler)s
        and m.topic = %(topic)s
        and d.unknown_at is null
        and (d.lease_token is null or e.queue is not null)
    for update of d skip locked
), withdrawn as (
    delete from outbox.delivery as d
    where d.id = any(array(select c.id from chosen as c))
    returning d.id, d.message_id, d.handler, d.attempts
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, detail, settled_at)
    select w.id, w.message_id, w.handler, w.attempts, 'withdrawn', 'route_dropped', jsonb_build_object('actor', %(actor)s::text),
        coalesce(%(now)s::timestamptz, now())
    from withdrawn as w
)
select w.id, w.message_id, w.attempts, m.topic, m.version, m.payload::text as payload, m.key as message_key,
    m.sequence, m.correlation_id, m.created_at, (select max(l.id) from looked as l) as seen_to
from withdrawn as w
inner join outbox.message as m on m.id = w.message_id
union all
select null, null, null, null, null, null, null, null, null, null, (select max(l.id) from looked as l)
order by id
