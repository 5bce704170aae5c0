-- 0019_plain_publish: publish_messages writes messages of one class without any terms by a shorter way.
-- locks: none; the function is replaced.
-- yesterday's code: runs, and is answered the same.
--
-- With terms each message is taken apart three times, to learn seven times that a term is the default.
set local lock_timeout = '5s';

-- Publishes many in one statement; the arrays it answers keep the order of in_payloads.
--   in_topics, in_versions   one entry per class of message
--   in_dedup_windows         the same, or null where no message has a dedup key
--   in_payloads              [payload, ...]
--   in_terms                 null, or [{"kind", "key", "dedup_key", "due_at", "sequence", "correlation_id", "priority"}, ...]
--                            where kind is a place in in_topics; what is left out is 1 (kind), 0 (priority) or null
create or replace function outbox.publish_messages(
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
    if in_terms is null then
        with stored as (
            insert into outbox.message (topic, version, payload, headers, created_at)
            select in_topics[1], in_versions[1], u.payload, in_headers, coalesce(in_now, now())
            from jsonb_array_elements(in_payloads) as u(payload)
            returning id
        )
        select array_agg(s.id order by s.id) into message_ids from stored as s;
        insert into outbox.delivery (message_id, handler, position, priority)
        select u.id, r.handler, u.id, 0::smallint
        from unnest(message_ids) as u(id) cross join unnest(handlers) as r(handler)
        order by u.id;
        deliveries := array_fill(coalesce(cardinality(handlers), 0), array[cardinality(message_ids)]);
    else
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
    end if;
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
