-- 0002_letters: failure groups of dead letters, redrives, an audit of acts, questions about unknowns.
-- locks: dead_letter is rewritten once (its new column is computed and stored) and has indexes built, under an
--        exclusive lock; the hot tables are not touched.
-- yesterday's code: runs. The group is computed by the database, the other new columns may be null.
set local lock_timeout = '5s';

-- The table is rewritten in this very transaction, so nobody could write to it meanwhile anyhow:
-- squawk-ignore-file require-concurrent-index-creation, adding-field-with-default

-- What people did by hand. Append-only: receipts name its rows.
create table outbox.operation (
    id bigint generated always as identity,
    at timestamptz not null,
    actor text not null,
    action text not null,
    why text,
    selection jsonb not null,
    found bigint not null,
    constraint operation_pk primary key (id),
    constraint operation_actor_not_empty check (actor <> ''),
    constraint operation_action_known check (action in ('redrive', 'dismiss', 'resolve', 'resend', 'make_due'))
);

create function outbox.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_relid::regclass using errcode = '42501';
end;
$$;
create trigger operation_append_only before update or delete or truncate on outbox.operation
for each statement execute function outbox.refuse_change();

-- A group is what failed in the same way: handler, type, SQLSTATE, reason and function. Long numbers, ids and
-- the line are left out, so that a group is the same for every delivery and survives a release. Reasons are
-- codes of our own, so a group quotes nobody.
alter table outbox.dead_letter add column failure_group text not null generated always as (
    left(md5(
        handler || chr(1) || coalesce(error_type, '') || chr(1) || coalesce(sqlstate, '') || chr(1)
        || regexp_replace(reason, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9]{4,}', '#', 'gi')
        || chr(1) || regexp_replace(coalesce(frame, ''), ':[0-9]+ ', ' ')
    ), 12)
) stored;
alter table outbox.dead_letter add column redrive_id bigint;
alter table outbox.dead_letter add column withdrawn_at timestamptz;
create index dead_letter_group_idx on outbox.dead_letter (failure_group, died_at, delivery_id);
create index dead_letter_died_idx on outbox.dead_letter (died_at, delivery_id);
create index dead_letter_message_idx on outbox.dead_letter (message_id);
create index dead_letter_redrive_idx on outbox.dead_letter (redrive_id, position, delivery_id)
where redrive_id is not null;

-- A redrive under way: its letters are marked, relays carry it on. `pace` letters fall due each second, the
-- next not before `next_due_at`; while that is null, the canary has not been done.
create table outbox.redrive (
    operation_id bigint not null,
    canary boolean not null,
    canary_id bigint,
    canary_message_id bigint,
    pace integer,
    next_due_at timestamptz,
    released bigint not null default 0,
    ended_at timestamptz,
    ended_as text,
    constraint redrive_pk primary key (operation_id),
    constraint redrive_operation_fk foreign key (operation_id) references outbox.operation (id),
    constraint redrive_pace_from_one check (pace >= 1),
    constraint redrive_end_known check (ended_as in ('released', 'canary_failed')),
    constraint redrive_end_is_whole check ((ended_at is null) = (ended_as is null))
);
create index redrive_open_idx on outbox.redrive (operation_id) where ended_at is null;

-- Questions to receivers about deliveries held as unknown. A lease is a due date in the future, so what its
-- worker never answered falls due by itself; `due_at` null: no more is asked. `call_token` is the token of the
-- attempt asked about: whoever acts on the delivery drops it there, and the answer comes too late.
create table outbox.question (
    delivery_id bigint not null,
    handler text not null,
    call_token uuid not null,
    due_at timestamptz,
    token uuid,
    asked smallint not null default 0,
    last_answer text,
    constraint question_pk primary key (delivery_id)
);
create index question_due_idx on outbox.question (handler, due_at) where due_at is not null;
