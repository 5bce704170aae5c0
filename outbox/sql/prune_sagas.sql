-- prune_sagas: delete instances that ended long ago, with their timeline, of the `window` that come after `after`.
-- index: saga_pk (id); saga_transition_pk (saga_id, version)
-- why: as prune_messages; an instance's timers were withdrawn when it ended.
with looked as materialized (
    select s.id, s.started_at < coalesce(%(now)s::timestamptz, now()) - %(keep)s::interval as old
    from outbox.saga as s
    where s.id > %(after)s
    order by s.id
    limit %(window)s
), free as materialized (
    select s.id
    from outbox.saga as s
    where s.id = any(array(select l.id from looked as l where l.old))
        and s.ended_at < coalesce(%(now)s::timestamptz, now()) - %(keep)s::interval
    for update skip locked
), timelines as (
    delete from outbox.saga_transition as t where t.saga_id = any(array(select f.id from free as f))
), gone as (
    delete from outbox.saga as s where s.id = any(array(select f.id from free as f)) returning s.id
)
select (select max(l.id) from looked as l) as seen_to,
    (select count(*) from looked as l where l.old) as old,
    (select count(*) from gone) as gone
