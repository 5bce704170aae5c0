-- adopt_unrouted: make the deliveries of parked messages whose topic has a route by now.
-- index: unrouted_pk (message_id); route_pk (topic, handler)
-- why: bounded, so that a long park does not make a long transaction.
with adopted as (
    delete from outbox.unrouted as u
    where u.message_id in (
        select p.message_id
        from outbox.unrouted as p
        where exists (select from outbox.route as r where r.topic = p.topic)
        order by p.message_id
        limit 1000
        for update skip locked
    )
    returning u.message_id, u.topic, u.due_at, u.priority
), sent as (
    insert into outbox.delivery (message_id, handler, key, position, priority, due_at)
    select a.message_id, r.handler, case when r.ordered then m.key end, coalesce(m.sequence, m.id),
        a.priority, a.due_at
    from adopted as a
    inner join outbox.message as m on m.id = a.message_id
    inner join outbox.route as r on r.topic = a.topic
    order by a.message_id
)
select count(*) from adopted
