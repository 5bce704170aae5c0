-- pause_destination: nobody claims for this handler until it is resumed.
-- index: destination_pk (handler)
-- why: cluster-wide, with who and why.
update outbox.destination as d
set paused_at = case when %(paused)s then coalesce(d.paused_at, %(now)s::timestamptz, now()) end,
    paused_by = case when %(paused)s then %(actor)s end,
    paused_why = case when %(paused)s then %(why)s end
where d.handler = %(handler)s
returning d.handler
