-- hold_destination: nobody calls this destination before `until`; a hold only grows.
-- index: destination_pk (handler)
-- why: every process sees it in its next claim.
update outbox.destination as d
set held_until = coalesce(%(now)s::timestamptz, now()) + least(%(wait)s::interval, interval '1 hour'),
    held_reason = %(reason)s
where d.handler = %(handler)s
    and (d.held_until is null
        or d.held_until < coalesce(%(now)s::timestamptz, now()) + least(%(wait)s::interval, interval '1 hour'))
returning d.held_until
