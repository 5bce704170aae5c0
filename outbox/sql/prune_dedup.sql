-- prune_dedup: delete dedup keys past their window, of the `window` that come after a topic and key.
-- index: dedup_pk (topic, dedup_key)
-- why: the whole table is walked, page by page, so that publishing pays for no index on dates. A key is left for
--      an hour beyond its end: a publisher whose transaction began before the end may still be asking for it.
with looked as materialized (
    select k.topic, k.dedup_key, k.expires_at < coalesce(%(now)s::timestamptz, now()) - interval '1 hour' as old
    from outbox.dedup as k
    where (k.topic, k.dedup_key) > (%(topic)s::text, %(dedup_key)s::text)
    order by k.topic, k.dedup_key
    limit %(window)s
), free as materialized (
    select k.topic, k.dedup_key
    from outbox.dedup as k
    inner join looked as l on l.topic = k.topic and l.dedup_key = k.dedup_key
    where l.old and k.expires_at < coalesce(%(now)s::timestamptz, now()) - interval '1 hour'
    for update of k skip locked
), gone as (
    delete from outbox.dedup as k
    using free as f
    where k.topic = f.topic and k.dedup_key = f.dedup_key
    returning 1
)
select l.topic, l.dedup_key, (select count(*) from gone) as gone
from looked as l
order by l.topic desc, l.dedup_key desc
limit 1
