-- drop_lease: end a lease early, if it is still ours.
-- index: job_locks_one_holder_per_job (job_name)
-- why: the next run need not wait for the lease to run out.
delete from job_locks
where job_name = %(job)s and holder = %(holder)s
