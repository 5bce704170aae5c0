-- 0005_scenarios: follow-up rules, where they are enabled, and what was prompted.
-- locks: share row exclusive on organisations and peer_mentors, briefly, for the foreign keys.
-- yesterday's code: runs; all tables are new.
set local lock_timeout = '5s';

create table public.followup_scenarios (
    id uuid constraint followup_scenarios_pkey primary key default gen_random_uuid(),
    code text not null constraint followup_scenarios_code_is_unique unique,
    name text not null,
    rule jsonb not null constraint followup_scenarios_rule_is_an_object
        check (jsonb_typeof(rule) = 'object'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table public.scenario_settings (
    organisation_id uuid not null constraint scenario_settings_organisation_fkey
        references public.organisations (id) on delete cascade,
    scenario_id uuid not null constraint scenario_settings_scenario_fkey
        references public.followup_scenarios (id) on delete cascade,
    enabled boolean not null default false,
    enabled_at timestamptz,
    changed_by uuid,
    changed_at timestamptz not null default now(),
    constraint scenario_settings_one_per_organisation primary key (organisation_id, scenario_id),
    constraint scenario_settings_enabled_since_a_time check (not enabled or enabled_at is not null)
);
create index scenario_settings_scenario_idx on public.scenario_settings (scenario_id);

create table public.prompt_history (
    id uuid constraint prompt_history_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint prompt_history_organisation_fkey
        references public.organisations (id),
    user_id uuid not null,
    scenario_id uuid not null constraint prompt_history_scenario_fkey
        references public.followup_scenarios (id),
    activity_ref text not null,
    mentor_id uuid not null constraint prompt_history_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    due_on date not null,
    status text not null default 'claimed' constraint prompt_history_status_is_known
        check (status in ('claimed', 'dispatched', 'failed')),
    attempts integer not null default 0
        constraint prompt_history_attempts_is_not_negative check (attempts >= 0),
    error_class text,
    group_id uuid constraint prompt_history_group_fkey
        references public.notification_groups (id) on delete set null,
    notification_id uuid,
    run_id uuid,
    claimed_at timestamptz not null default now(),
    settled_at timestamptz,
    constraint prompt_history_once_per_activity unique (user_id, scenario_id, activity_ref)
);
create index prompt_history_group_idx on public.prompt_history (group_id);
create index prompt_history_mentor_idx on public.prompt_history (mentor_id);
create index prompt_history_failed_idx on public.prompt_history (organisation_id, due_on)
    where status = 'failed';
