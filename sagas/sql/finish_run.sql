-- finish_run: record how a run ended and what it did.
-- index: job_runs_pkey (id)
-- why: every run leaves its result, one that found another at work included.
insert into job_runs (id, job_name, as_of, started_at, finished_at, status, summary, error_class)
values (
    %(run_id)s, %(job)s, %(started_at)s, %(started_at)s, %(finished_at)s, %(status)s, %(summary)s,
    %(error_class)s
)
on conflict (id) do update
set finished_at = excluded.finished_at,
    status = excluded.status,
    summary = excluded.summary,
    error_class = excluded.error_class
