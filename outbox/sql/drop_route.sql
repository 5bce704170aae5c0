-- drop_route: send a topic to a handler no longer.
-- index: route_pk (topic, handler)
-- why: what was published before keeps its delivery; that is decided apart from this.
delete from outbox.route as r where r.topic = %(topic)s and r.handler = %(handler)s
returning r.topic
