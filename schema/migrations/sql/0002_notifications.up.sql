-- 0002_notifications: policies, flags, reminders, groups, the notification log and the inbox.
-- locks: none on a table in use but share row exclusive on peer_mentors and organisations, briefly,
--      for the foreign keys.
-- yesterday's code: runs; all tables are new.
set local lock_timeout = '5s';

create function app.strictly_descending(thresholds integer[]) returns boolean
language sql immutable strict parallel safe set search_path = ''
as $$
    select array_ndims(thresholds) = 1
        and array_position(thresholds, null) is null
        and not exists (
            select
            from generate_subscripts(thresholds, 1) as place
            where place > array_lower(thresholds, 1) and thresholds[place] >= thresholds[place - 1]
        )
$$;

create table public.notification_policies (
    organisation_id uuid not null constraint notification_policies_organisation_fkey
        references public.organisations (id) on delete cascade,
    audience text not null constraint notification_policies_audience_is_known
        check (audience in ('mentor', 'coordinator')),
    thresholds integer[] not null
        constraint notification_policies_thresholds_descend
        check (coalesce(app.strictly_descending(thresholds), false))
        constraint notification_policies_thresholds_are_1_to_365_days
        check (1 <= all (thresholds) and 365 >= all (thresholds))
        constraint notification_policies_thresholds_are_1_to_8
        check (cardinality(thresholds) between 1 and 8),
    lapsed boolean not null default true,
    cadence text not null default 'once_per_tier'
        constraint notification_policies_cadence_is_known
        check (cadence in ('once_per_tier', 'per_run_date')),
    per_run_date_tiers text[] not null default '{}',
    grouping text not null default 'per_run' constraint notification_policies_grouping_is_known
        check (grouping in ('per_run', 'per_tier', 'per_mentor')),
    in_doubt text not null default 'hold' constraint notification_policies_in_doubt_is_known
        check (in_doubt in ('hold', 'resend_once')),
    lapsed_lookback_days integer not null default 30
        constraint notification_policies_lapsed_lookback_is_not_negative
        check (lapsed_lookback_days >= 0),
    guard_hours integer not null default 20
        constraint notification_policies_guard_is_0_to_168_hours check (guard_hours between 0 and 168),
    updated_at timestamptz not null default now(),
    updated_by uuid,
    constraint notification_policies_one_per_audience primary key (organisation_id, audience)
);

create table public.feature_flags (
    organisation_id uuid not null constraint feature_flags_organisation_fkey
        references public.organisations (id) on delete cascade,
    flag text not null,
    enabled boolean not null default false,
    expires_at timestamptz,
    reason text,
    changed_by uuid,
    changed_at timestamptz not null default now(),
    constraint feature_flags_pkey primary key (organisation_id, flag),
    constraint feature_flags_widening_expires_and_has_a_reason check (
        flag <> 'widen_coordinator_scope'
        or not enabled
        or (expires_at is not null and reason is not null)
    )
);

create table public.cert_expiry_reminders (
    id uuid constraint cert_expiry_reminders_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint cert_expiry_reminders_organisation_fkey
        references public.organisations (id),
    audience text not null constraint cert_expiry_reminders_audience_is_known
        check (audience in ('mentor', 'coordinator')),
    mentor_id uuid not null constraint cert_expiry_reminders_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    -- no foreign key: the reminder outlives the certificate it was about
    certification_id uuid not null,
    certificate_type text not null,
    threshold_day integer not null,
    threshold_tier text not null,
    certification_expiry_date date not null,
    notification_window_start date not null,
    notification_window_date date not null,
    status text not null default 'claimed' constraint cert_expiry_reminders_status_is_known
        check (status in ('claimed', 'merged')),
    run_id uuid,
    created_at timestamptz not null default now(),
    constraint cert_expiry_reminders_lapsed_is_minus_one
        check ((threshold_tier = 'lapsed') = (threshold_day = -1)),
    constraint cert_expiry_reminders_once_per_period unique (
        audience, mentor_id, certification_id, threshold_day, certification_expiry_date,
        notification_window_date
    )
);
create index cert_expiry_reminders_tier_idx on public.cert_expiry_reminders
    (mentor_id, certificate_type, threshold_tier, notification_window_start);
create index cert_expiry_reminders_run_idx on public.cert_expiry_reminders (run_id);

create table public.notification_groups (
    id uuid constraint notification_groups_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint notification_groups_organisation_fkey
        references public.organisations (id),
    recipient_id uuid not null,
    kind text not null constraint notification_groups_kind_is_known check (kind in (
        'cert_expiry_reminder', 'cert_lapsed', 'coordinator_digest', 'mentor_paused',
        'mentor_reactivated', 'scenario_prompt', 'sync_alert'
    )),
    run_id uuid,
    dedup_key text not null constraint notification_groups_once_per_dedup_key unique,
    status text not null default 'queued' constraint notification_groups_status_is_known
        check (status in (
            'queued', 'sending', 'delivered', 'failed', 'no_token', 'unknown', 'cancelled', 'expired'
        )),
    resent boolean not null default false,
    attempts integer not null default 0
        constraint notification_groups_attempts_is_not_negative check (attempts >= 0),
    error_class text,
    created_at timestamptz not null default now(),
    settled_at timestamptz
);
create index notification_groups_recipient_idx on public.notification_groups
    (recipient_id, created_at);
create index notification_groups_run_idx on public.notification_groups (run_id);
create index notification_groups_open_idx on public.notification_groups (organisation_id, status)
    where status in ('queued', 'sending', 'failed', 'unknown');

create table public.notification_items (
    id uuid constraint notification_items_pkey primary key default gen_random_uuid(),
    group_id uuid not null constraint notification_items_group_fkey
        references public.notification_groups (id) on delete cascade,
    position integer not null,
    mentor_id uuid not null constraint notification_items_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    kind text not null constraint notification_items_kind_is_known check (kind in (
        'cert_expiry_reminder', 'cert_lapsed', 'coordinator_digest', 'mentor_paused',
        'mentor_reactivated', 'scenario_prompt', 'sync_alert'
    )),
    tier text,
    certificate_type text,
    certification_id uuid,
    certification_expiry_date date,
    reminder_id uuid constraint notification_items_reminder_fkey
        references public.cert_expiry_reminders (id) on delete set null,
    notification_id uuid,
    reason text,
    scenario_id uuid,
    prompt_id uuid,
    constraint notification_items_one_per_position unique (group_id, position)
);
create index notification_items_mentor_idx on public.notification_items (mentor_id);
create index notification_items_reminder_idx on public.notification_items (reminder_id);

create table public.cert_notification_log (
    id uuid constraint cert_notification_log_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint cert_notification_log_organisation_fkey
        references public.organisations (id),
    reminder_id uuid not null constraint cert_notification_log_reminder_fkey
        references public.cert_expiry_reminders (id) on delete cascade,
    audience text not null constraint cert_notification_log_audience_is_known
        check (audience in ('mentor', 'coordinator')),
    recipient_id uuid not null,
    recipient_step integer constraint cert_notification_log_recipient_step_is_1_to_5
        check (recipient_step between 1 and 5),
    channel text not null default 'push' constraint cert_notification_log_channel_is_known
        check (channel in ('push', 'in_app')),
    mentor_id uuid not null constraint cert_notification_log_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    cert_id uuid not null,
    certificate_type text not null,
    threshold_days integer not null,
    threshold_tier text not null,
    certification_expiry_date date not null,
    notification_window_date date not null,
    date_sent date,
    status text not null default 'queued' constraint cert_notification_log_status_is_known
        check (status in (
            'queued', 'sending', 'delivered', 'failed', 'no_token', 'unknown', 'cancelled',
            'expired', 'merged'
        )),
    attempts integer not null default 0
        constraint cert_notification_log_attempts_is_not_negative check (attempts >= 0),
    run_attempts integer not null default 0
        constraint cert_notification_log_run_attempts_is_not_negative check (run_attempts >= 0),
    error_class text,
    dispatch_group_id uuid constraint cert_notification_log_group_fkey
        references public.notification_groups (id) on delete set null,
    run_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    settled_at timestamptz,
    constraint cert_notification_log_once_per_recipient unique (reminder_id, recipient_id, channel)
);
create unique index cert_notification_log_mentor_push_once_per_period on public.cert_notification_log
    (mentor_id, threshold_days, cert_id, certification_expiry_date, notification_window_date)
    where audience = 'mentor' and channel = 'push';
create index cert_notification_log_guard_idx on public.cert_notification_log
    (recipient_id, mentor_id, cert_id, threshold_days);
create index cert_notification_log_group_idx on public.cert_notification_log (dispatch_group_id);
create index cert_notification_log_open_idx on public.cert_notification_log (organisation_id, status)
    where status in ('queued', 'sending', 'failed', 'unknown');

create table public.notifications (
    id uuid constraint notifications_pkey primary key default gen_random_uuid(),
    organisation_id uuid not null constraint notifications_organisation_fkey
        references public.organisations (id),
    recipient_id uuid not null,
    kind text not null constraint notifications_kind_is_known check (kind in (
        'cert_expiry_reminder', 'cert_lapsed', 'coordinator_digest', 'mentor_paused',
        'mentor_reactivated', 'scenario_prompt', 'sync_alert'
    )),
    tier text,
    mentor_id uuid constraint notifications_mentor_fkey
        references public.peer_mentors (id) on delete cascade,
    title text not null,
    body text not null,
    deep_link text,
    status text not null default 'pending' constraint notifications_status_is_known
        check (status in ('pending', 'delivered', 'failed', 'no_token', 'unknown', 'cancelled')),
    group_id uuid constraint notifications_group_fkey
        references public.notification_groups (id) on delete set null,
    idempotency_key text not null constraint notifications_once_per_idempotency_key unique,
    read_at timestamptz,
    created_at timestamptz not null default now()
);
create index notifications_inbox_idx on public.notifications (recipient_id, created_at desc);
create index notifications_group_idx on public.notifications (group_id);
create index notifications_mentor_idx on public.notifications (mentor_id);

create function public.mark_notification_read(notification uuid) returns boolean
language plpgsql security definer set search_path = ''
as $$
begin
    update public.notifications
    set read_at = coalesce(read_at, now())
    where id = notification and recipient_id = auth.uid();
    return found;
end
$$;
comment on function public.mark_notification_read(uuid) is
    'Called by clients: marks one notification of the caller as read; false if it is not theirs (NTF-3).';

create view public.reminder_dispatch_log with (security_invoker = true) as
select
    mentor_id,
    recipient_id as coordinator_id,
    threshold_days as threshold_day,
    certification_expiry_date,
    date_sent,
    status
from public.cert_notification_log
where audience = 'coordinator' and channel = 'push';

create view public.fcm_push_queue with (security_invoker = true) as
select
    id,
    organisation_id,
    recipient_id,
    kind,
    status,
    attempts,
    error_class,
    dedup_key as dedup_tag,
    created_at,
    settled_at
from public.notification_groups;

do $$
begin
    if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        alter publication supabase_realtime add table public.notifications;
    end if;
end
$$;
