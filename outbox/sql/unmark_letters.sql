-- unmark_letters: take dead letters out of a redrive that has ended.
-- index: dead_letter_redrive_idx (redrive_id, position, delivery_id) where redrive_id is not null
-- why: its canary died again; they stay what they are, for the next one to choose.
update outbox.dead_letter as l
set redrive_id = null
where l.redrive_id = %(operation_id)s
