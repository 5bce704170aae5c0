-- 0001_publish: publishing, one door for the library, for triggers and for other languages.
-- locks: none; every function is new.
-- yesterday's code: there is none.
--
-- The functions run with the caller's rights and the caller's search_path: a path of their own would push a
-- settings frame at each call. So every relation is named with its schema, every comparison is between operands
-- of one type of pg_catalog, where an exact match in an earlier schema would have to be put there by the caller.
set local lock_timeout = '5s';

-- Publishes one message in the caller's transaction; the one door for every language.
-- duplicate: the dedup key was published before and message_id is the winner's.
-- refused: 'read_only' when the transaction may not write (nothing was tried).
create function outbox.publish_message(
    in_topic text, in_payload jsonb, in_key text, in_dedup_key text, in_due_at timestamptz, in_sequence bigint,
    in_correlation_id text, in_version integer, in_headers jsonb, in_priority smallint, in_dedup_window interval,
    in_handler text, in_causation_id bigint, in_now timestamptz,
    out message_id bigint, out duplicate boolean, out deliveries integer, out refused text
) language plpgsql as $$
declare
    asleep boolean;
begin
    if current_setting('transaction_read_only') = 'on' then
        refused := 'read_only';
        return;
    end if;
    if in_dedup_key is not null then
        message_id := nextval('outbox.message_id_seq');
        insert into outbox.dedup as d (topic, dedup_key, message_id, expires_at)
        values (in_topic, in_dedup_key, publish_message.message_id, coalesce(in_now, now()) + in_dedup_window)
        on conflict on constraint dedup_pk do update
            set message_id = excluded.message_id, expires_at = excluded.expires_at
            where d.expires_at <= coalesce(in_now, now());
        if not found then
            -- a statement of its own: the snapshot of the first cannot see a winner that committed meanwhile
            select d.message_id, true, 0 into message_id, duplicate, deliveries from outbox.dedup as d
            where d.topic = in_topic and d.dedup_key = in_dedup_key;
            return;
        end if;
    end if;
    insert into outbox.message (id, topic, version, payload, headers, key, sequence, correlation_id, causation_id, created_at)
    overriding system value
    values (coalesce(publish_message.message_id, nextval('outbox.message_id_seq')), in_topic, in_version, in_payload, in_headers,
        in_key, in_sequence, in_correlation_id, in_causation_id, coalesce(in_now, now()))
    returning id, false, exists (select from outbox.relay where asleep_until > clock_timestamp())
    into message_id, duplicate, asleep;
    if in_handler is null then
        insert into outbox.delivery (message_id, handler, key, position, priority, due_at)
        select publish_message.message_id, r.handler, case when r.ordered then in_key end,
            coalesce(in_sequence, publish_message.message_id), in_priority, in_due_at
        from outbox.route as r where r.topic = in_topic;
    else
        insert into outbox.delivery (message_id, handler, key, position, priority, due_at)
        values (publish_message.message_id, in_handler, in_key, coalesce(in_sequence, publish_message.message_id),
            in_priority, in_due_at);
    end if;
    get diagnostics deliveries = row_count;
    if deliveries = 0 then
        insert into outbox.unrouted (message_id, topic, due_at, priority, parked_at)
        values (publish_message.message_id, in_topic, in_due_at, in_priority, coalesce(in_now, now()));
    end if;
    if asleep then
        perform pg_notify('outbox', '');
    end if;
end
$$;

-- Publishes many in one statement; the arrays it answers keep the order of in_payloads.
--   in_topics, in_versions   one entry per class of message
--   in_dedup_windows         the same, or null where no message has a dedup key
--   in_payloads              [payload, ...]
--   in_terms                 null, or [{"kind", "key", "dedup_key", "due_at", "sequence", "correlation_id", "priority"}, ...]
--                            where kind is a place in in_topics; what is left out is 1 (kind), 0 (priority) or null
create function outbox.publish_messages(
    in_topics text[], in_versions integer[], in_dedup_windows interval[], in_payloads jsonb, in_terms jsonb, in_headers jsonb,
    in_now timestamptz,
    out message_ids bigint[], out duplicates boolean[], out deliveries integer[], out refused text
) language plpgsql as $$
declare
    kinds bigint[];
    handlers text[];
    ordereds boolean[];
begin
    if current_setting('transaction_read_only') = 'on' then
        refused := 'read_only';
        return;
    end if;
    if in_dedup_windows is not null then
        select array_agg(p.message_id order by u.place), array_agg(p.duplicate order by u.place), array_agg(p.deliveries order by u.place)
        into message_ids, duplicates, deliveries
        from rows from (jsonb_array_elements(in_payloads), jsonb_array_elements(in_terms)) with ordinality as u(payload, term, place)
        cross join lateral (select coalesce((u.term ->> 'kind')::integer, 1) as kind) as k
        cross join lateral outbox.publish_message(
            in_topics[k.kind], u.payload, u.term ->> 'key', u.term ->> 'dedup_key', (u.term ->> 'due_at')::timestamptz,
            (u.term ->> 'sequence')::bigint, u.term ->> 'correlation_id', in_versions[k.kind], in_headers,
            coalesce((u.term ->> 'priority')::smallint, 0::smallint), in_dedup_windows[k.kind], null, null, in_now
        ) as p;
        return;
    end if;
    -- read once: a route that commits meanwhile must not count for one step and not for the next
    select array_agg(t.kind), array_agg(r.handler), array_agg(r.ordered) into kinds, handlers, ordereds
    from unnest(in_topics) with ordinality as t(topic, kind) inner join outbox.route as r on r.topic = t.topic;
    with stored as (
        insert into outbox.message (topic, version, payload, headers, key, sequence, correlation_id, created_at)
        select in_topics[coalesce((u.term ->> 'kind')::integer, 1)], in_versions[coalesce((u.term ->> 'kind')::integer, 1)],
            u.payload, in_headers, u.term ->> 'key', (u.term ->> 'sequence')::bigint, u.term ->> 'correlation_id',
            coalesce(in_now, now())
        from rows from (jsonb_array_elements(in_payloads), jsonb_array_elements(in_terms)) with ordinality as u(payload, term, place)
        returning id
    )
    select array_agg(s.id order by s.id) into message_ids from stored as s;
    insert into outbox.delivery (message_id, handler, key, position, priority, due_at)
    select u.id, r.handler, case when r.ordered then u.term ->> 'key' end, coalesce((u.term ->> 'sequence')::bigint, u.id),
        coalesce((u.term ->> 'priority')::smallint, 0::smallint), (u.term ->> 'due_at')::timestamptz
    from rows from (unnest(message_ids), jsonb_array_elements(in_terms)) as u(id, term)
    inner join unnest(kinds, handlers, ordereds) as r(kind, handler, ordered) on r.kind = coalesce((u.term ->> 'kind')::bigint, 1)
    order by u.id;
    select array_agg(coalesce(cardinality(array_positions(kinds, coalesce((u.term ->> 'kind')::bigint, 1))), 0) order by u.id)
    into deliveries
    from rows from (unnest(message_ids), jsonb_array_elements(in_terms)) as u(id, term);
    if 0 = any(deliveries) then
        insert into outbox.unrouted (message_id, topic, due_at, priority, parked_at)
        select u.id, in_topics[coalesce((u.term ->> 'kind')::integer, 1)], (u.term ->> 'due_at')::timestamptz,
            coalesce((u.term ->> 'priority')::smallint, 0::smallint), coalesce(in_now, now())
        from rows from (unnest(message_ids), unnest(deliveries), jsonb_array_elements(in_terms)) as u(id, deliveries, term)
        where u.deliveries = 0;
    end if;
    if exists (select from outbox.relay where asleep_until > clock_timestamp()) then
        perform pg_notify('outbox', '');
    end if;
end
$$;

-- For triggers and other languages: the same result as the library's publish.
create function outbox.publish(
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
