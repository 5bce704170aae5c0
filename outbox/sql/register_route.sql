-- register_route: send a topic to a handler from now on.
-- index: route_pk (topic, handler)
-- why: only adds or corrects `ordered`; a route is removed by hand, since another version may still want it.
insert into outbox.route as r (topic, handler, ordered)
values (%(topic)s, %(handler)s, %(ordered)s)
on conflict on constraint route_pk do update set ordered = excluded.ordered
    where r.ordered is distinct from excluded.ordered
