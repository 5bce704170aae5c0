-- start_redrive: note a redrive whose letters are marked.
-- index: redrive_pk (operation_id)
-- why: from here on any relay can carry it on, whatever becomes of the command that began it.
insert into outbox.redrive (operation_id, canary, pace, next_due_at)
values (
    %(operation_id)s, %(canary)s, %(pace)s,
    case when not %(canary)s then coalesce(%(now)s::timestamptz, now()) end
)
