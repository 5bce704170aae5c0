-- prune_receipts: delete old receipts whose message is gone, of the `window` that come after the id `after`.
-- index: receipt_pk (id); message_pk (id)
-- why: as prune_messages. As long as there is a message, its receipts tell who has had it: backfill asks them.
with looked as materialized (
    select r.id, r.message_id, r.settled_at < coalesce(%(now)s::timestamptz, now()) - %(keep)s::interval as old
    from outbox.receipt as r
    where r.id > %(after)s
    order by r.id
    limit %(window)s
), free as materialized (
    select r.id
    from outbox.receipt as r
    where r.id = any(array(select l.id from looked as l where l.old))
        and not exists (select from outbox.message as m where m.id = r.message_id)
    for update skip locked
), gone as (
    delete from outbox.receipt as r where r.id = any(array(select f.id from free as f)) returning r.id
)
select (select max(l.id) from looked as l) as seen_to,
    (select count(*) from looked as l where l.old) as old,
    (select count(*) from gone) as gone
