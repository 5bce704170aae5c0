-- start_run: record that a run of a job began.
-- index: job_runs_pkey (id)
-- why: committed before the work, so a run that died is seen as running for ever, not as absent.
insert into job_runs (id, job_name, organisation_id, as_of, started_at, status)
values (%(run_id)s, %(job)s, %(organisation_id)s, %(now)s, %(now)s, 'running')
on conflict (id) do nothing
