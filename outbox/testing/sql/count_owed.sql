-- count_owed: how many deliveries of a handler the messages and its routes call for.
-- index: none, a full count for tests
-- why: a census adds up to what was published, counted without looking at a single delivery.
select count(*)
from outbox.message as m
inner join outbox.route as r on r.topic = m.topic
where r.handler = %(handler)s
