-- raise_letters: give letters of a redrive a new life as deliveries, with all attempts ahead.
-- index: dead_letter_redrive_idx (redrive_id, position, delivery_id) where redrive_id is not null;
--        dead_letter_pk (delivery_id); message_pk (id)
-- why: the id stays, so that receipts of both lives stand together. `pace` of them fall due each second from
--      `start_at` on, in the order of their positions. Only handlers this program has: others could not be told.
--      Where a dead letter blocks its key (`blocking`), what waits for its pace blocks it as well: it has a
--      reason to wait, and is not taken for one that has not joined yet.
with chosen as materialized (
    select l.delivery_id, l.position
    from outbox.dead_letter as l
    where l.redrive_id = %(operation_id)s and l.handler = any(%(handlers)s::text[])
    order by l.position, l.delivery_id
    limit %(limit)s
    for update skip locked
), ranked as materialized (
    select c.delivery_id, row_number() over (order by c.position, c.delivery_id) - 1 as place
    from chosen as c
), risen as (
    delete from outbox.dead_letter as l
    using ranked as r
    where l.delivery_id = r.delivery_id
    returning l.delivery_id as id, l.message_id, l.handler, l.key, l.position, l.attempts, r.place
), deliveries as (
    insert into outbox.delivery (id, message_id, handler, key, position, due_at, last_reason)
    overriding system value
    select r.id, r.message_id, r.handler, r.key, r.position,
        %(start_at)s::timestamptz + make_interval(secs => (r.place / %(pace)s::bigint)::double precision),
        case when r.handler = any(%(blocking)s::text[]) then 'redriven' end
    from risen as r
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, detail, settled_at)
    select r.id, r.message_id, r.handler, r.attempts, 'redriven', null,
        jsonb_build_object('operation', %(operation_id)s::bigint, 'actor', %(actor)s::text), coalesce(%(now)s::timestamptz, now())
    from risen as r
)
select r.id, r.message_id, r.handler, r.attempts, m.topic, m.version, m.payload::text as payload,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from risen as r
inner join outbox.message as m on m.id = r.message_id
order by r.place
