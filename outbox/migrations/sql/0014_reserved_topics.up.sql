-- 0014_reserved_topics: SQL may publish no topic that is the engine's, as a program may declare none.
-- locks: none that anybody waits for; one function is replaced.
-- yesterday's code: runs. A trigger that has published such a topic so far is refused from now on.
set local lock_timeout = '5s';

-- For triggers and other languages: the same result as the library's publish.
create or replace function outbox.publish(
    topic text, payload jsonb, key text default null, dedup_key text default null, due_at timestamptz default null,
    sequence bigint default null, correlation_id text default null, version integer default 1, headers jsonb default '{}',
    priority smallint default 0, dedup_window interval default null
) returns bigint language plpgsql as $$
declare
    result record;
begin
    if publish.topic is null or publish.topic !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' then
        raise exception 'topic % is not two or more lower-case words joined by dots', quote_nullable(publish.topic)
            using errcode = '22023';
    end if;
    if publish.topic like 'outbox.%' then
        raise exception 'topic % is the engine''s, as all that begin with outbox. are; give yours a word of its own', publish.topic
            using errcode = '42939';
    end if;
    if length(publish.topic) > 120 then
        raise exception 'topic % has % characters, the most is 120', left(publish.topic, 40), length(publish.topic)
            using errcode = '22023';
    end if;
    if octet_length(publish.payload::text) > 300000 then
        raise exception 'payload of % is % bytes, the most is 300000; store it elsewhere and publish its key',
            publish.topic, octet_length(publish.payload::text) using errcode = '54000';
    end if;
    result := outbox.publish_message(publish.topic, publish.payload, publish.key, publish.dedup_key, publish.due_at,
        publish.sequence, publish.correlation_id, publish.version, publish.headers, publish.priority, publish.dedup_window,
        null, null, null);
    if result.refused = 'read_only' then
        raise exception 'the transaction is read-only; publish from one that may write' using errcode = '25006';
    end if;
    return result.message_id;
end
$$;
