-- next_due: the first instant after `now` at which something falls due or a lease runs out.
-- index: none, a test's database is small
-- why: a lab moves time from one such instant to the next.
select min(x.at) as at
from (
    select coalesce(d.lease_until, d.due_at) as at from outbox.delivery as d where d.unknown_at is null
    union all
    select s.held_until from outbox.destination as s
    union all
    select s.circuit_probe_at from outbox.destination as s where s.circuit_opened_at is not null
) as x
where x.at > %(now)s
