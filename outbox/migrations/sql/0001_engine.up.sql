-- 0001_engine: the engine's schema, made from nothing.
-- locks: none that matter; every object is new.
-- yesterday's code: there is none.
set local lock_timeout = '5s';

create schema if not exists outbox;

-- The facts. Immutable: nothing updates a row.
create table outbox.message (
    id bigint generated always as identity,
    topic text not null,
    version integer not null,
    payload jsonb not null,
    headers jsonb not null default '{}',
    key text,
    sequence bigint,
    correlation_id text,
    causation_id bigint,
    created_at timestamptz not null default now(),
    constraint message_pk primary key (id),
    constraint message_version_from_one check (version >= 1),
    constraint message_key_not_empty check (key <> '')
);

-- Which handlers a topic is sent to. Filled from the registered handlers; only `route drop` removes.
create table outbox.route (
    topic text not null,
    handler text not null,
    ordered boolean not null default false,
    added_at timestamptz not null default now(),
    constraint route_pk primary key (topic, handler)
);

-- The duty of one handler towards one message: small, hot, gone when done.
--   due_at null        due since it was published (the common case, claimed in id order)
--   lease_token        the right to try, until lease_until; null: nobody tries
--   begun_at           an ambiguous call was about to leave; cleared by each settlement
--   unknown_at         its outcome cannot be known; held for a human or a policy
--   lone_claims        how often it was claimed alone and not settled (poison)
--   last_reason        why it waits; set with it, a due date ahead is a wait and not the first one
create table outbox.delivery (
    id bigint generated always as identity,
    message_id bigint not null,
    handler text not null,
    key text,
    position bigint not null,
    priority smallint not null default 0,
    due_at timestamptz,
    lease_token uuid,
    lease_until timestamptz,
    leased_by text,
    begun_at timestamptz,
    unknown_at timestamptz,
    attempts integer not null default 0,
    lone_claims smallint not null default 0,
    resends smallint not null default 0,
    last_reason text,
    constraint delivery_pk primary key (id),
    constraint delivery_message_fk foreign key (message_id) references outbox.message (id),
    constraint delivery_lease_is_whole check ((lease_token is null) = (lease_until is null)),
    constraint delivery_begun_under_lease check (begun_at is null or lease_token is not null)
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);

create index delivery_ready_idx on outbox.delivery (handler, id)
where due_at is null;
create index delivery_due_idx on outbox.delivery (handler, due_at, id)
where due_at is not null;
create index delivery_lease_idx on outbox.delivery (handler, lease_until)
where lease_token is not null;
create index delivery_key_idx on outbox.delivery (handler, key, position, id)
where key is not null;
create index delivery_message_idx on outbox.delivery (message_id);
-- P5: whatever a claim saw, two deliveries of one handler and key are never in anybody's hands at once.
create unique index delivery_one_lease_per_key on outbox.delivery (handler, key)
where lease_token is not null and key is not null;

-- Deliveries given up, whole enough to be given a new life.
create table outbox.dead_letter (
    delivery_id bigint not null,
    message_id bigint not null,
    handler text not null,
    key text,
    position bigint not null,
    attempts integer not null,
    reason text not null,
    error_type text,
    sqlstate text,
    frame text,
    died_at timestamptz not null,
    constraint dead_letter_pk primary key (delivery_id),
    constraint dead_letter_message_fk foreign key (message_id) references outbox.message (id)
);
create index dead_letter_handler_idx on outbox.dead_letter (handler, key, delivery_id);

-- The append-only trace of each attempt, and of each settlement without one.
create table outbox.receipt (
    id bigint generated always as identity,
    delivery_id bigint not null,
    message_id bigint not null,
    handler text not null,
    attempt integer not null,
    outcome text not null,
    reason text,
    relay text,
    detail jsonb,
    settled_at timestamptz not null,
    constraint receipt_pk primary key (id),
    constraint receipt_outcome_known check (
        outcome in ('done', 'suppressed', 'retry', 'dead', 'unknown', 'superseded', 'withdrawn', 'redriven')
    )
);
create index receipt_message_idx on outbox.receipt (message_id, id);

-- Keys published within their window (P6).
create table outbox.dedup (
    topic text not null,
    dedup_key text not null,
    message_id bigint not null,
    expires_at timestamptz,
    constraint dedup_pk primary key (topic, dedup_key),
    constraint dedup_key_not_empty check (dedup_key <> '')
);

-- Messages published to a topic without a route: parked, never dropped.
create table outbox.unrouted (
    message_id bigint not null,
    topic text not null,
    due_at timestamptz,
    priority smallint not null default 0,
    parked_at timestamptz not null default now(),
    constraint unrouted_pk primary key (message_id),
    constraint unrouted_message_fk foreign key (message_id) references outbox.message (id)
);
create index unrouted_topic_idx on outbox.unrouted (topic, message_id);

-- One row per handler: what every process must know before it claims.
create table outbox.destination (
    handler text not null,
    paused_at timestamptz,
    paused_by text,
    paused_why text,
    held_until timestamptz,
    held_reason text,
    circuit_opened_at timestamptz,
    circuit_reason text,
    circuit_probe_at timestamptz,
    constraint destination_pk primary key (handler)
);

-- Relays that are alive, and whether they sleep and want the bell.
create table outbox.relay (
    id text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    handlers text[] not null,
    asleep_until timestamptz,
    constraint relay_pk primary key (id)
);

-- Saga instances and their timeline.
create table outbox.saga (
    id bigint generated always as identity,
    name text not null,
    key text not null,
    state jsonb not null,
    state_version integer not null,
    version bigint not null,
    timers jsonb not null default '{}',
    started_at timestamptz not null,
    changed_at timestamptz not null,
    ended_at timestamptz,
    constraint saga_pk primary key (id),
    constraint saga_version_from_one check (version >= 1)
);
create unique index saga_one_open_per_key on outbox.saga (name, key) where ended_at is null;
create index saga_key_idx on outbox.saga (name, key, id);

create table outbox.saga_transition (
    saga_id bigint not null,
    version bigint not null,
    message_id bigint not null,
    topic text not null,
    change jsonb not null,
    published bigint[] not null default '{}',
    armed jsonb not null default '{}',
    cancelled text[] not null default '{}',
    at timestamptz not null,
    constraint saga_transition_pk primary key (saga_id, version),
    constraint saga_transition_saga_fk foreign key (saga_id) references outbox.saga (id)
);

-- Publishes one message in the caller's transaction; the one door for every language.
-- duplicate: the dedup key was published before and message_id is the winner's.
-- refused: 'read_only' when the transaction may not write (nothing was tried).
create function outbox.publish_message(
    in_topic text, in_payload jsonb, in_key text, in_dedup_key text, in_due_at timestamptz, in_sequence bigint,
    in_correlation_id text, in_version integer, in_headers jsonb, in_priority smallint, in_dedup_window interval,
    in_handler text, in_causation_id bigint, in_now timestamptz,
    out message_id bigint, out duplicate boolean, out deliveries integer, out refused text
) language plpgsql set search_path = '' as $$
begin
    if current_setting('transaction_read_only')::boolean then
        refused := 'read_only';
        return;
    end if;
    duplicate := false;
    message_id := nextval(pg_get_serial_sequence('outbox.message', 'id'));
    if in_dedup_key is not null then
        insert into outbox.dedup as d (topic, dedup_key, message_id, expires_at)
        values (in_topic, in_dedup_key, publish_message.message_id, coalesce(in_now, now()) + in_dedup_window)
        on conflict on constraint dedup_pk do update
            set message_id = excluded.message_id, expires_at = excluded.expires_at
            where d.expires_at <= coalesce(in_now, now());
        if not found then
            -- a statement of its own: the snapshot of the first cannot see a winner that committed meanwhile
            select d.message_id into message_id from outbox.dedup as d
            where d.topic = in_topic and d.dedup_key = in_dedup_key;
            duplicate := true;
            deliveries := 0;
            return;
        end if;
    end if;
    insert into outbox.message (id, topic, version, payload, headers, key, sequence, correlation_id, causation_id, created_at)
    overriding system value
    values (message_id, in_topic, in_version, in_payload, in_headers, in_key, in_sequence, in_correlation_id, in_causation_id,
        coalesce(in_now, now()));
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
    if exists (select from outbox.relay where asleep_until > clock_timestamp()) then
        perform pg_notify('outbox', '');
    end if;
end
$$;

-- Publishes rows of equal-length arrays in one statement; the answer keeps their order.
create function outbox.publish_messages(
    in_topics text[], in_payloads jsonb[], in_keys text[], in_dedup_keys text[], in_due_ats timestamptz[], in_sequences bigint[],
    in_correlation_ids text[], in_versions integer[], in_headers jsonb[], in_priorities smallint[], in_dedup_windows interval[],
    in_now timestamptz
) returns table (message_id bigint, duplicate boolean, deliveries integer, refused text)
language plpgsql set search_path = '' as $$
begin
    if current_setting('transaction_read_only')::boolean then
        return query select null::bigint, false, 0, 'read_only'::text;
        return;
    end if;
    if exists (select from unnest(in_dedup_keys) as k where k is not null) then
        return query
        select p.message_id, p.duplicate, p.deliveries, p.refused
        from generate_subscripts(in_topics, 1) as i
        cross join lateral outbox.publish_message(
            in_topics[i], in_payloads[i], in_keys[i], in_dedup_keys[i], in_due_ats[i], in_sequences[i], in_correlation_ids[i],
            in_versions[i], in_headers[i], in_priorities[i], in_dedup_windows[i], null, null, in_now
        ) as p
        order by i;
        return;
    end if;
    return query
    with input as materialized (
        select nextval(pg_get_serial_sequence('outbox.message', 'id')) as id, u.*
        from unnest(in_topics, in_payloads, in_keys, in_due_ats, in_sequences, in_correlation_ids, in_versions, in_headers,
            in_priorities) with ordinality
            as u(topic, payload, key, due_at, sequence, correlation_id, version, headers, priority, place)
    ), stored as (
        insert into outbox.message (id, topic, version, payload, headers, key, sequence, correlation_id, created_at)
        overriding system value
        select i.id, i.topic, i.version, i.payload, i.headers, i.key, i.sequence, i.correlation_id, coalesce(in_now, now())
        from input as i order by i.place
        returning id
    ), sent as (
        insert into outbox.delivery (message_id, handler, key, position, priority, due_at)
        select i.id, r.handler, case when r.ordered then i.key end, coalesce(i.sequence, i.id), i.priority, i.due_at
        from input as i inner join outbox.route as r on r.topic = i.topic
        order by i.place
        returning delivery.message_id as id
    ), counted as (
        select s.id, count(*)::integer as deliveries from sent as s group by s.id
    ), parked as (
        insert into outbox.unrouted (message_id, topic, due_at, priority, parked_at)
        select i.id, i.topic, i.due_at, i.priority, coalesce(in_now, now()) from input as i
        where not exists (select from counted as c where c.id = i.id)
        returning unrouted.message_id as id
    )
    select i.id, false, coalesce(c.deliveries, 0), null::text
    from input as i left join counted as c on c.id = i.id
    where (select count(*) from stored) + (select count(*) from parked) > 0
    order by i.place;
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
) returns bigint language plpgsql set search_path = '' as $$
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

comment on schema outbox is 'outbox-saga: transactional outbox, relay and sagas';
