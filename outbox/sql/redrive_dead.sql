-- redrive_dead: give dead letters a new life as deliveries, due now and with all attempts ahead.
-- index: dead_letter_pk (delivery_id); dead_letter_handler_idx (handler, key, delivery_id)
-- why: the id stays, so that receipts of both lives stand together.
with chosen as (
    select l.delivery_id
    from outbox.dead_letter as l
    where (%(delivery_ids)s::bigint[] is null or l.delivery_id = any(%(delivery_ids)s::bigint[]))
        and (%(handler)s::text is null or l.handler = %(handler)s)
        and (%(key)s::text is null or l.key = %(key)s)
    order by l.delivery_id
    limit %(limit)s
    for update skip locked
), risen as (
    delete from outbox.dead_letter as l
    using chosen as c
    where l.delivery_id = c.delivery_id
    returning l.delivery_id, l.message_id, l.handler, l.key, l.position, l.attempts
), deliveries as (
    insert into outbox.delivery (id, message_id, handler, key, position, due_at)
    overriding system value
    select r.delivery_id, r.message_id, r.handler, r.key, r.position, coalesce(%(now)s::timestamptz, now())
    from risen as r
), receipts as (
    insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason, settled_at)
    select r.delivery_id, r.message_id, r.handler, r.attempts, 'redriven', %(actor)s, coalesce(%(now)s::timestamptz, now())
    from risen as r
)
select delivery_id from risen order by delivery_id
