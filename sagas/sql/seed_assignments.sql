-- seed_assignments: sow assignments.
-- index: assignments_once_per_coordinator (mentor_id, coordinator_id)
-- why: one statement for all rows.
insert into assignments (mentor_id, coordinator_id)
select * from unnest(%(c0)s::uuid[], %(c1)s::uuid[])
