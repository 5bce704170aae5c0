-- all_messages: every message and the instance that published it.
-- index: none, a test's database is small
-- why: a lab shows what was published.
select id, topic, version, payload::text as payload, key, sequence, correlation_id, created_at,
    case when headers ? 'saga' then jsonb_build_object(
        'name', headers #>> '{saga,name}', 'saga_id', (headers #>> '{saga,id}')::bigint, 'key', headers #>> '{saga,key}'
    ) end as saga
from outbox.message
order by id
