-- claim_questions: take questions to the receiver that are due, for as long as asking may take.
-- index: question_due_idx (handler, due_at) where due_at is not null; delivery_pk (id); message_pk (id);
--        destination_pk (handler)
-- why: the lease is a due date in the future: what its worker never answers falls due by itself, counted, so that
--      a question that kills its worker ends too. A question about a call that somebody has decided about since
--      is forgotten. A receiver that is paused, held or left alone is not asked.
with due as materialized (
    select q.delivery_id
    from outbox.question as q
    where q.handler = (
            select o.handler
            from outbox.destination as o
            where o.handler = %(handler)s
                and o.paused_at is null
                and o.circuit_opened_at is null
                and o.breaker_opened_at is null
                and (o.held_until is null or o.held_until <= coalesce(%(now)s::timestamptz, now()))
        )
        and q.due_at <= coalesce(%(now)s::timestamptz, now())
    order by q.due_at
    limit %(limit)s
    for update skip locked
), mine as (
    update outbox.question as q
    set token = %(token)s, due_at = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval, asked = q.asked + 1
    from due
    inner join outbox.delivery as d on d.id = due.delivery_id
    where q.delivery_id = due.delivery_id and d.unknown_at is not null and d.lease_token = q.call_token
    returning q.delivery_id, q.asked
), forgotten as (
    delete from outbox.question as q
    using due
    where q.delivery_id = due.delivery_id
        and not exists (
            select from outbox.delivery as d
            where d.id = q.delivery_id and d.unknown_at is not null and d.lease_token = q.call_token
        )
)
select y.asked, d.id, d.message_id, d.key, d.position, d.attempts, d.resends, d.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at, d.lease_token
from mine as y
inner join outbox.delivery as d on d.id = y.delivery_id
inner join outbox.message as m on m.id = d.message_id
order by d.id
