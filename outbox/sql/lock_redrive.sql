-- lock_redrive: take a redrive to carry it on; how it stands, and how its canary ended.
-- index: redrive_open_idx (operation_id) where ended_at is null; operation_pk (id); delivery_pk (id); dead_letter_pk (delivery_id);
--        dead_letter_redrive_idx (redrive_id, position, delivery_id) where redrive_id is not null;
--        receipt_message_idx (message_id, id)
-- why: one process at a time; whoever comes second finds nothing to do.
select r.operation_id, r.canary, r.canary_id, r.pace, r.next_due_at, r.released, o.actor,
    coalesce(%(now)s::timestamptz, now()) as now,
    exists (select from outbox.dead_letter as l where l.redrive_id = r.operation_id) as has_more,
    case
        when exists (select from outbox.delivery as d where d.id = r.canary_id) then 'waiting'
        when exists (select from outbox.dead_letter as l where l.delivery_id = r.canary_id) then 'dead'
        else (
            select t.outcome from outbox.receipt as t
            where t.message_id = r.canary_message_id and t.delivery_id = r.canary_id
            order by t.id desc
            limit 1
        )
    end as canary_state
from outbox.redrive as r
inner join outbox.operation as o on o.id = r.operation_id
where r.operation_id = %(operation_id)s and r.ended_at is null
for update of r skip locked
