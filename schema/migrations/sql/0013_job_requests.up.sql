-- 0013_job_requests: let SQL ask for a run of a scheduled job.
-- locks: none on a table in use; the table is new.
-- yesterday's code: runs; it looks at no requests.
-- why: pg_cron runs SQL and can start no program. It leaves a request; a scheduler, which can, finds
--      it. A request is open until a run of its job that began at its time or later has ended, so
--      there is nothing to take away, and asking twice before a run is asking once.
set local lock_timeout = '5s';

create table public.job_requests (
    job_name text constraint job_requests_one_per_job primary key
        constraint job_requests_job_is_known check (job_name in (
            'nightly', 'sweep', 'credentials', 'reconcile', 'reconcile_light', 'prompts'
        )),
    requested_at timestamptz not null,
    requested_by uuid
);
alter table public.job_requests enable row level security;
alter table public.job_requests force row level security;
revoke all on public.job_requests from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.job_requests to service_role;

create function app.request_job(
    job text, requested_by uuid default null, at timestamptz default null
) returns timestamptz
language sql security definer set search_path = ''
as $$
    insert into public.job_requests as request (job_name, requested_at, requested_by)
    values (request_job.job, coalesce(request_job.at, now()), request_job.requested_by)
    on conflict (job_name) do update
    set requested_at = greatest(request.requested_at, excluded.requested_at),
        requested_by = excluded.requested_by
    returning request.requested_at
$$;
comment on function app.request_job(text, uuid, timestamptz) is
    'Asks the running schedulers for one run of a job; called by pg_cron and by the service (OPS-3).';
revoke all on function app.request_job(text, uuid, timestamptz) from public, anon, authenticated;
grant execute on function app.request_job(text, uuid, timestamptz) to service_role;
