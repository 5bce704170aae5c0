-- backfill_handler: give a handler what it never had, of the `window` messages that come after the id `after`.
-- index: message_pk (id); delivery_message_idx (message_id);
--        dead_letter_handler_idx (handler, key, delivery_id);
--        receipt_message_idx (message_id, id); unrouted_pk (message_id)
-- why: a message it had has left a delivery, a dead letter or a receipt, and receipts stay as long as their
--      message. What is parked gets its deliveries when it is adopted. A message in the hands of prune is waited
--      for, and is then gone. What still waits for its first due date elsewhere waits for it here too. The walk is
--      by id: it is done once, and publishing pays for no index on topics or dates.
with looked as materialized (
    select m.id, m.topic = any(%(topics)s::text[]) and m.created_at >= %(since)s::timestamptz as wanted
    from outbox.message as m
    where m.id > %(after)s
    order by m.id
    limit %(window)s
), missed as materialized (
    select m.id, m.key, m.sequence
    from outbox.message as m
    where m.id = any(array(select l.id from looked as l where l.wanted))
        and not exists (select from outbox.delivery as d where d.message_id = m.id and d.handler = %(handler)s)
        and not exists (select from outbox.dead_letter as d where d.message_id = m.id and d.handler = %(handler)s)
        and not exists (select from outbox.receipt as r where r.message_id = m.id and r.handler = %(handler)s)
        and not exists (select from outbox.unrouted as u where u.message_id = m.id)
    for key share
), sent as (
    insert into outbox.delivery (message_id, handler, key, position, due_at)
    select m.id, %(handler)s, case when %(ordered)s then m.key end, coalesce(m.sequence, m.id), (
            select min(d.due_at)
            from outbox.delivery as d
            where d.message_id = m.id and d.last_reason is null and d.due_at > coalesce(%(now)s::timestamptz, now())
        )
    from missed as m
    order by m.id
    returning 1
)
select (select max(l.id) from looked as l) as seen_to, (select count(*) from sent) as sent
