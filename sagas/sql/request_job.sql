-- request_job: ask the schedulers for a run of a job, beside its timetable.
-- index: none, the function writes one row
-- why: pg_cron and an HTTP call cannot run a job; whoever can finds the request with its next look.
select app.request_job(%(job)s, %(requested_by)s, %(now)s)
