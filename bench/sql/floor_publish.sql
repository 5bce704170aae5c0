-- floor_publish: one row for the limits' plain table, and a ring.
-- index: none
-- why: what `listen_floor.py` of the survey of peers sends.
with i as (
    insert into outbox (topic, key, payload) values ('t', 'k', %(payload)s::jsonb) returning id
)
select pg_notify('floor', '') from i
