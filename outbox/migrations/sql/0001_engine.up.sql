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
--   lease_token        the right to try, until lease_until; null: nobody tries. No index holds either of
--                      them, so that a claim rewrites the row alone (HOT); see outbox.lease
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
    fillfactor = 45,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);

create index delivery_ready_idx on outbox.delivery (handler, id)
where due_at is null;
create index delivery_due_idx on outbox.delivery (handler, due_at, id)
where due_at is not null;
create index delivery_key_idx on outbox.delivery (handler, key, position, id)
where key is not null;
create index delivery_message_idx on outbox.delivery (message_id);

-- One row per claimed batch: who holds it, until when, and which deliveries. Here is found what was taken
-- and not settled. It goes with the last of its deliveries, or after it has expired and nothing is under it.
create table outbox.lease (
    token uuid not null,
    handler text not null,
    relay text not null,
    until timestamptz not null,
    deliveries bigint[] not null,
    first_id bigint,
    last_id bigint,
    constraint lease_pk primary key (token),
    constraint lease_range_is_whole check ((first_id is null) = (last_id is null))
);
create index lease_expiry_idx on outbox.lease (handler, until);

-- P5: whatever a claim saw, a key is in one hand at a time, and with it a run of its deliveries.
create table outbox.key_lease (
    handler text not null,
    key text not null,
    token uuid not null,
    until timestamptz not null,
    constraint key_lease_pk primary key (handler, key)
);
create index key_lease_token_idx on outbox.key_lease (token);

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

comment on schema outbox is 'outbox-saga: transactional outbox, relay and sagas';
