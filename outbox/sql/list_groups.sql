-- list_groups: dead letters by the way they failed, the biggest group first.
-- index: dead_letter_group_idx (failure_group, died_at, delivery_id)
-- why: counted from the index alone; one letter of each group, the latest, says what they have in common.
with counted as materialized (
    select l.failure_group, count(*) as letters, min(l.died_at) as first_seen, max(l.died_at) as last_seen
    from outbox.dead_letter as l
    group by l.failure_group
)
select c.failure_group, c.letters, c.first_seen, c.last_seen, s.delivery_id as sample_delivery_id, s.handler,
    s.reason, s.error_type, s.sqlstate, s.frame
from counted as c
cross join lateral (
    select l.delivery_id, l.handler, l.reason, l.error_type, l.sqlstate, l.frame
    from outbox.dead_letter as l
    where l.failure_group = c.failure_group
    order by l.died_at desc, l.delivery_id desc
    limit 1
) as s
where %(handler)s::text is null or s.handler = %(handler)s
order by c.letters desc, c.failure_group
limit %(limit)s
