-- 0004_operations: runs, locks, alerts, findings, reports, credential checks and the audit log.
-- locks: share row exclusive on organisations and peer_mentors, briefly, for the foreign keys.
-- yesterday's code: runs; all tables are new.
set local lock_timeout = '5s';

create table public.job_runs (
    id uuid constraint job_runs_pkey primary key default gen_random_uuid(),
    job_name text not null,
    organisation_id uuid constraint job_runs_organisation_fkey
        references public.organisations (id) on delete cascade,
    as_of timestamptz,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    status text not null default 'running' constraint job_runs_status_is_known
        check (status in ('running', 'done', 'failed', 'already_running')),
    summary jsonb not null default '{}',
    error_class text
);
create index job_runs_latest_idx on public.job_runs (job_name, started_at desc);

create table public.job_locks (
    job_name text constraint job_locks_one_holder_per_job primary key,
    holder uuid not null,
    acquired_at timestamptz not null default now(),
    lease_until timestamptz not null
);

create table public.dashboard_alerts (
    id uuid constraint dashboard_alerts_pkey primary key default gen_random_uuid(),
    type text not null constraint dashboard_alerts_type_is_known check (type in (
        'dynamics_sync_pending', 'credential_failure', 'portal_ahead', 'endpoint_retired',
        'duplicate_dispatch', 'duplicate_log_entries', 'invalid_policy', 'payload_rejected',
        'data_quality'
    )),
    organisation_id uuid constraint dashboard_alerts_organisation_fkey
        references public.organisations (id) on delete cascade,
    chapter_id uuid,
    mentor_id uuid constraint dashboard_alerts_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    subject text not null,
    text text not null,
    severity text not null default 'warning' constraint dashboard_alerts_severity_is_known
        check (severity in ('info', 'warning', 'critical')),
    opened_at timestamptz not null default now(),
    due_at timestamptz,
    escalated_at timestamptz,
    resolved_at timestamptz,
    resolved_by uuid,
    resolution_note text
);
create unique index dashboard_alerts_one_open_per_subject on public.dashboard_alerts
    (type, organisation_id, subject) nulls not distinct where resolved_at is null;
create index dashboard_alerts_organisation_idx on public.dashboard_alerts
    (organisation_id, opened_at desc);
create index dashboard_alerts_mentor_idx on public.dashboard_alerts (mentor_id);

create table public.data_quality_findings (
    id uuid constraint data_quality_findings_pkey primary key default gen_random_uuid(),
    kind text not null,
    organisation_id uuid not null constraint data_quality_findings_organisation_fkey
        references public.organisations (id) on delete cascade,
    chapter_id uuid,
    mentor_id uuid constraint data_quality_findings_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    subject text not null,
    step integer,
    detail jsonb not null default '{}',
    found_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    resolved_at timestamptz
);
create unique index data_quality_findings_one_open_per_subject on public.data_quality_findings
    (kind, subject) where resolved_at is null;
create index data_quality_findings_organisation_idx on public.data_quality_findings
    (organisation_id, found_at);
create index data_quality_findings_mentor_idx on public.data_quality_findings (mentor_id);

create table public.reconciliation_reports (
    id uuid constraint reconciliation_reports_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint reconciliation_reports_organisation_fkey
        references public.organisations (id) on delete cascade,
    run_id uuid,
    dry_run boolean not null default false,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    complete boolean not null default false,
    totals jsonb not null default '{}',
    repaired integer not null default 0,
    duplicates jsonb not null default '[]',
    unknown_pushes integer not null default 0,
    failed_pushes integer not null default 0,
    open_alerts integer not null default 0,
    credential_status jsonb not null default '{}'
);
create index reconciliation_reports_latest_idx on public.reconciliation_reports
    (organisation_id, started_at desc);

create table public.reconciliation_items (
    report_id uuid not null constraint reconciliation_items_report_fkey
        references public.reconciliation_reports (id) on delete cascade,
    -- no foreign key: the portal may list a mentor that we do not know
    mentor_id uuid not null,
    verdict text not null constraint reconciliation_items_verdict_is_known check (verdict in (
        'in_sync', 'in_sync_absent', 'pending', 'lagging', 'not_published', 'behind', 'missing',
        'conflict', 'ahead', 'orphan'
    )),
    our_version bigint,
    our_visible boolean,
    portal_version bigint,
    portal_visible boolean,
    published_visible boolean,
    lag_seconds bigint,
    action text not null default 'none',
    event_id bigint,
    constraint reconciliation_items_one_per_mentor primary key (report_id, mentor_id)
);

create table public.credential_checks (
    id bigint generated always as identity constraint credential_checks_pkey primary key,
    integration text not null,
    checked_at timestamptz not null default now(),
    outcome text not null constraint credential_checks_outcome_is_known
        check (outcome in ('accepted', 'rejected', 'unavailable')),
    reason text,
    hint text,
    run_id uuid
);
create index credential_checks_latest_idx on public.credential_checks (integration, checked_at desc);

create table public.audit_log (
    id bigint generated always as identity constraint audit_log_pkey primary key,
    at timestamptz not null default now(),
    actor_id uuid,
    actor_role text not null,
    action text not null,
    -- no foreign keys: what was done stays on record when its subject is gone
    organisation_id uuid,
    mentor_id uuid,
    subject jsonb not null default '{}',
    reason text,
    before jsonb,
    after jsonb,
    request_id text
);
create index audit_log_organisation_idx on public.audit_log (organisation_id, at desc);
create index audit_log_actor_idx on public.audit_log (actor_id, at desc);

create function private.audit_log_is_append_only() returns trigger
language plpgsql set search_path = ''
as $$
begin
    raise exception 'audit_log is append-only' using errcode = 'insufficient_privilege';
end
$$;
create trigger audit_log_is_append_only before update or delete or truncate on public.audit_log
for each statement execute function private.audit_log_is_append_only();
