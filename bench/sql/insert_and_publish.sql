-- insert_and_publish: insert a row and publish a message in the same statement.
-- index: route_pk (topic, handler)
-- why: what a publish costs that needs no round trip of its own.
with changed as (insert into measured (number) values (%(number)s) returning id)
select outbox.publish(%(topic)s, %(payload)s::jsonb) from changed
