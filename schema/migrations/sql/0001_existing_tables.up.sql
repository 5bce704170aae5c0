-- 0001_existing_tables: the app's own tables where they are absent, and the columns the rules need.
-- locks: access exclusive on each existing table while columns and their checks are added (one scan of
--      the table, no rewrite), share on it while an index is built; both for the transaction.
-- yesterday's code: runs. New columns are nullable or defaulted (MIG-1); nothing is renamed or
--      dropped (MIG-2).
-- why: app.addition remembers what was absent before, so that the way down removes that and no more.
set local lock_timeout = '5s';

do $$
begin
    if not (select rolsuper or rolbypassrls from pg_roles where rolname = current_user) then
        raise exception 'the migrating role must be allowed to bypass row-level security'
            using hint = 'its functions read forced tables on behalf of others; alter role ... bypassrls';
    end if;
end
$$;

-- The login of jobs and workers (VIS-8). It has no rights of its own: it sets role service_role.
do $$
begin
    if not exists (select from pg_roles where rolname = 'peermentor_worker') then
        create role peermentor_worker login noinherit;
    end if;
    if not pg_has_role('peermentor_worker', 'service_role', 'member') then
        grant service_role to peermentor_worker;
    end if;
exception
    when duplicate_object or unique_violation or internal_error then
        null;  -- another database of the cluster has just done it
    when insufficient_privilege then
        raise notice 'create role peermentor_worker and grant it service_role by hand';
end
$$;

do $$
begin
    if to_regnamespace('private') is null then
        create schema private;
        comment on schema private is 'Functions of the application that policies and triggers call.';
    end if;
end
$$;

create table app.addition (
    kind text not null constraint addition_kind_is_known
        check (kind in ('table', 'column', 'index', 'row_security', 'forced_row_security', 'grant')),
    relation text not null,
    name text not null default '',
    constraint addition_pkey primary key (kind, relation, name)
);
comment on table app.addition is
    'What the application''s migrations added to tables that may have existed before them.';
alter table app.addition enable row level security;
alter table app.addition force row level security;

insert into app.addition (kind, relation)
select 'table', wanted.relation
from unnest(array[
    'organisations', 'chapters', 'peer_mentors', 'chapter_memberships', 'user_roles',
    'assignments', 'certifications', 'device_tokens', 'activities'
]) as wanted (relation)
where to_regclass(format('public.%I', wanted.relation)) is null;

insert into app.addition (kind, relation, name)
select 'column', wanted.relation, wanted.name
from (values
    ('organisations', 'timezone'),
    ('organisations', 'visibility_channel'),
    ('organisations', 'go_live_date'),
    ('organisations', 'auto_reactivate_on_renewal'),
    ('organisations', 'language'),
    ('organisations', 'enrolment_url_template'),
    ('peer_mentors', 'status'),
    ('peer_mentors', 'paused_at'),
    ('peer_mentors', 'pause_reason'),
    ('peer_mentors', 'pause_source'),
    ('peer_mentors', 'suppression_status'),
    ('peer_mentors', 'certification_expiry_date'),
    ('peer_mentors', 'visible_until'),
    ('peer_mentors', 'visibility_version'),
    ('peer_mentors', 'visibility_changed_at'),
    ('peer_mentors', 'visibility_effective_at'),
    ('peer_mentors', 'visibility_reason'),
    ('chapter_memberships', 'active'),
    ('user_roles', 'active'),
    ('assignments', 'active'),
    ('certifications', 'issued_on'),
    ('certifications', 'required'),
    ('certifications', 'revoked_at'),
    ('device_tokens', 'address_kind'),
    ('device_tokens', 'platform'),
    ('device_tokens', 'last_seen_at'),
    ('device_tokens', 'invalidated_at'),
    ('device_tokens', 'invalid_reason'),
    ('activities', 'flags')
) as wanted (relation, name)
where to_regclass(format('public.%I', wanted.relation)) is not null
    and not exists (
        select from pg_attribute
        where attrelid = to_regclass(format('public.%I', wanted.relation))
            and attname = wanted.name
            and not attisdropped
    );

insert into app.addition (kind, relation, name)
select 'index', wanted.relation, wanted.name
from (values
    ('chapters', 'chapters_organisation_idx'),
    ('peer_mentors', 'peer_mentors_lapse_idx'),
    ('chapter_memberships', 'chapter_memberships_chapter_idx'),
    ('user_roles', 'user_roles_user_idx'),
    ('user_roles', 'user_roles_chapter_idx'),
    ('assignments', 'assignments_coordinator_idx'),
    ('certifications', 'certifications_counted_idx'),
    ('device_tokens', 'device_tokens_user_idx'),
    ('activities', 'activities_anchor_idx')
) as wanted (relation, name)
where to_regclass(format('public.%I', wanted.relation)) is not null
    and to_regclass(format('public.%I', wanted.name)) is null;

create table if not exists public.organisations (
    id uuid constraint organisations_pkey primary key default gen_random_uuid(),
    code text not null constraint organisations_code_is_unique unique,
    name text not null
);

alter table public.organisations
    add column if not exists timezone text not null default 'Europe/Oslo',
    add column if not exists visibility_channel text not null default 'none'
        constraint organisations_visibility_channel_is_known
        check (visibility_channel in ('none', 'webhook', 'dataverse')),
    add column if not exists go_live_date date,
    add column if not exists auto_reactivate_on_renewal boolean not null default true,
    add column if not exists language text not null default 'nb'
        constraint organisations_language_is_known check (language in ('nb', 'en')),
    add column if not exists enrolment_url_template text;

create table if not exists public.chapters (
    id uuid constraint chapters_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null
        constraint chapters_organisation_fkey references public.organisations (id),
    name text not null
);

create table if not exists public.peer_mentors (
    id uuid constraint peer_mentors_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null
        constraint peer_mentors_organisation_fkey references public.organisations (id)
);

alter table public.peer_mentors
    add column if not exists status text not null default 'active'
        constraint peer_mentors_status_is_known check (status in ('active', 'paused', 'inactive')),
    add column if not exists paused_at timestamptz,
    add column if not exists pause_reason text,
    add column if not exists pause_source text
        constraint peer_mentors_pause_source_is_known
        check (pause_source in ('manual', 'certificate_expired')),
    add column if not exists suppression_status text not null default 'none'
        constraint peer_mentors_suppression_status_is_known
        check (suppression_status in ('none', 'certificate_expired', 'manual')),
    add column if not exists certification_expiry_date date,
    add column if not exists visible_until timestamptz,
    add column if not exists visibility_version bigint not null default 0
        constraint peer_mentors_visibility_version_is_not_negative check (visibility_version >= 0),
    add column if not exists visibility_changed_at timestamptz,
    add column if not exists visibility_effective_at timestamptz,
    add column if not exists visibility_reason text
        constraint peer_mentors_visibility_reason_is_known
        check (visibility_reason in (
            'certificate_lapsed', 'certificate_renewed', 'paused_manual', 'reactivated',
            'offboarded', 'force_sync', 'reconcile'
        ));

create table if not exists public.chapter_memberships (
    mentor_id uuid not null constraint chapter_memberships_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    chapter_id uuid not null constraint chapter_memberships_chapter_fkey
        references public.chapters (id) on delete cascade,
    constraint chapter_memberships_once_per_chapter primary key (mentor_id, chapter_id)
);

alter table public.chapter_memberships
    add column if not exists active boolean not null default true;

create table if not exists public.user_roles (
    id uuid constraint user_roles_pkey primary key default gen_random_uuid(),
    user_id uuid not null,
    organisation_id uuid not null
        constraint user_roles_organisation_fkey references public.organisations (id),
    chapter_id uuid constraint user_roles_chapter_fkey references public.chapters (id),
    role text not null constraint user_roles_role_is_known
        check (role in ('peer_mentor', 'coordinator', 'chapter_admin', 'org_admin', 'hlf_admin')),
    constraint user_roles_once_per_chapter
        unique nulls not distinct (user_id, organisation_id, chapter_id, role)
);

alter table public.user_roles
    add column if not exists active boolean not null default true;

create table if not exists public.assignments (
    mentor_id uuid not null constraint assignments_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    coordinator_id uuid not null,
    constraint assignments_once_per_coordinator primary key (mentor_id, coordinator_id)
);

alter table public.assignments
    add column if not exists active boolean not null default true;

create table if not exists public.certifications (
    id uuid constraint certifications_pkey primary key default gen_random_uuid(),
    mentor_id uuid not null constraint certifications_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    certificate_type text not null,
    expiry_date date
);

alter table public.certifications
    add column if not exists issued_on date,
    add column if not exists required boolean not null default true,
    add column if not exists revoked_at timestamptz;

create table if not exists public.device_tokens (
    id uuid constraint device_tokens_pkey primary key default gen_random_uuid(),
    user_id uuid not null,
    address text not null constraint device_tokens_address_is_unique unique
);

alter table public.device_tokens
    add column if not exists address_kind text not null default 'token'
        constraint device_tokens_address_kind_is_known check (address_kind in ('token', 'fid')),
    add column if not exists platform text
        constraint device_tokens_platform_is_known check (platform in ('android', 'ios', 'web')),
    add column if not exists last_seen_at timestamptz not null default now(),
    add column if not exists invalidated_at timestamptz,
    add column if not exists invalid_reason text;

create table if not exists public.activities (
    id uuid constraint activities_pkey primary key default gen_random_uuid(),
    mentor_id uuid not null constraint activities_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    kind text not null,
    occurred_at timestamptz not null
);

alter table public.activities
    add column if not exists flags jsonb not null default '{}';

create index if not exists chapters_organisation_idx on public.chapters (organisation_id);
create index if not exists peer_mentors_lapse_idx
    on public.peer_mentors (organisation_id, certification_expiry_date);
create index if not exists chapter_memberships_chapter_idx
    on public.chapter_memberships (chapter_id, mentor_id);
create index if not exists user_roles_user_idx on public.user_roles (user_id);
create index if not exists user_roles_chapter_idx on public.user_roles (chapter_id, role);
create index if not exists assignments_coordinator_idx on public.assignments (coordinator_id);
create index if not exists certifications_counted_idx
    on public.certifications (mentor_id, certificate_type, expiry_date desc);
create index if not exists device_tokens_user_idx on public.device_tokens (user_id);
create index if not exists activities_anchor_idx on public.activities (mentor_id, occurred_at);
