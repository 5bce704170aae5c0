-- doctor_sequences: how far the engine's id sequences are, and whether a table is ahead of its own.
-- index: message_pk (id); delivery_pk (id)
-- why: after a restore that left the sequences behind, the next publish fails on a taken id.
select s.sequencename as name, coalesce(s.last_value, 0) as last_value, s.max_value,
    case s.sequencename
        when 'message_id_seq' then (select max(id) from outbox.message)
        when 'delivery_id_seq' then (select max(id) from outbox.delivery)
    end as table_max
from pg_sequences as s
where s.schemaname = 'outbox'
order by s.sequencename
