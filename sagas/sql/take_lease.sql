-- take_lease: make `holder` the one run of a job, unless another one holds it still.
-- index: job_locks_one_holder_per_job (job_name)
-- why: a lease row works behind transaction poolers and falls due with its holder's death; holding
--      it again extends it (DED-6).
insert into job_locks (job_name, holder, acquired_at, lease_until)
values (%(job)s, %(holder)s, %(now)s, %(until)s)
on conflict (job_name) do update
set holder = excluded.holder, acquired_at = excluded.acquired_at, lease_until = excluded.lease_until
where job_locks.lease_until <= excluded.acquired_at or job_locks.holder = excluded.holder
returning holder
