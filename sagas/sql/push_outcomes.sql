-- push_outcomes: how the pushes of one run ended so far.
-- index: notification_groups_run_idx (run_id)
-- why: counted per recipient, whatever number of devices. A retried group counts with the run that
--      opened it.
select status, count(*)
from notification_groups
where run_id = %(run_id)s
group by status
