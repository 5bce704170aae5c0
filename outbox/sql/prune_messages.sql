-- prune_messages: delete messages that nobody waits for any more, of the `window` that come after the id `after`.
-- index: message_pk (id); delivery_message_idx (message_id); dead_letter_message_idx (message_id);
--        unrouted_pk (message_id)
-- why: ids are about as old as they are small, so the primary key is the search and publishing pays for no index
--      on dates. What waits, is dead or is parked keeps its message; a trigger and foreign keys refuse the whole
--      statement that would take it. Rows in other hands are passed by.
with looked as materialized (
    select m.id, m.created_at < coalesce(%(now)s::timestamptz, now()) - %(keep)s::interval as old
    from outbox.message as m
    where m.id > %(after)s
    order by m.id
    limit %(window)s
), free as materialized (
    select m.id
    from outbox.message as m
    where m.id = any(array(select l.id from looked as l where l.old))
        and not exists (select from outbox.delivery as d where d.message_id = m.id)
        and not exists (select from outbox.dead_letter as d where d.message_id = m.id)
        and not exists (select from outbox.unrouted as u where u.message_id = m.id)
    for update skip locked
), gone as (
    delete from outbox.message as m where m.id = any(array(select f.id from free as f)) returning m.id
)
select (select max(l.id) from looked as l) as seen_to,
    (select count(*) from looked as l where l.old) as old,
    (select count(*) from gone) as gone
