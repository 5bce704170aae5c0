-- leave_breaker_probe: nothing was found that may be the probe; whoever finds something may take it at once.
-- index: destination_pk (handler)
-- why: fenced by the probe's token. It is no probe that failed, so nobody waits longer for the next.
update outbox.destination as d
set breaker_probe_token = null, breaker_probe_at = coalesce(%(now)s::timestamptz, now())
where d.handler = %(handler)s and d.breaker_probe_token = %(token)s
