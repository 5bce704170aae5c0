-- 0013_job_requests: remove the requests and what makes them.
-- locks: access exclusive on job_requests; the rows are gone afterwards.
set local lock_timeout = '5s';

drop function app.request_job(text, uuid, timestamptz);
drop table public.job_requests;
