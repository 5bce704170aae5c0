-- keep_breaker_open: the probe ended without showing that the destination works.
-- index: destination_pk (handler)
-- why: fenced by the probe's token: who lost it decides nothing. Each probe that failed doubles the wait for the
--      next; one that never called (`failed` false) leaves its turn to the next at once.
update outbox.destination as d
set breaker_probe_token = null,
    breaker_probes = d.breaker_probes + %(failed)s::boolean::integer,
    breaker_probe_at = coalesce(%(now)s::timestamptz, now()) + case
        when %(failed)s then least(%(probe_after)s::interval * power(2, least(d.breaker_probes + 1, 20)), %(probe_after_max)s::interval)
        else interval '0'
    end
where d.handler = %(handler)s and d.breaker_probe_token = %(token)s
returning d.breaker_probe_at
