-- list_redrives: redrives under way, the oldest first.
-- index: redrive_open_idx (operation_id) where ended_at is null; operation_pk (id)
-- why: asked by every relay now and then, so it must cost nothing when there is none.
select r.operation_id, o.actor, o.why, o.at, o.found, r.canary_id, r.released, r.pace, r.next_due_at
from outbox.redrive as r
inner join outbox.operation as o on o.id = r.operation_id
where r.ended_at is null
order by r.operation_id
limit 100
