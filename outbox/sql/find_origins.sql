-- find_origins: which saga instances published some messages.
-- index: message_pk (id)
-- why: a report goes to the life that published, and to no later one of the same key.
select id, headers #>> '{saga,name}' as name, (headers #>> '{saga,id}')::bigint as saga_id, headers #>> '{saga,key}' as key
from outbox.message
where id = any(%(message_ids)s::bigint[]) and headers -> 'saga' is not null
