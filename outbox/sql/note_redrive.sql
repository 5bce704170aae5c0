-- note_redrive: write down how far a redrive has come.
-- index: redrive_pk (operation_id)
-- why: what is null stays as it is; the row is locked by whoever calls this.
update outbox.redrive as r
set canary_id = coalesce(%(canary_id)s::bigint, r.canary_id),
    canary_message_id = coalesce(%(canary_message_id)s::bigint, r.canary_message_id),
    next_due_at = coalesce(%(next_due_at)s::timestamptz, r.next_due_at),
    released = r.released + %(released)s,
    ended_at = case when %(ended_as)s::text is not null then coalesce(%(now)s::timestamptz, now()) end,
    ended_as = %(ended_as)s::text
where r.operation_id = %(operation_id)s
