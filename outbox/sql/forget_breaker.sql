-- forget_breaker: close the breaker of a handler that declares none any more.
-- index: destination_pk (handler)
-- why: only a handler with a breaker probes, so one that was opened under the release before would never close.
--      What the destination had failed waits for its backoff as it would without a breaker.
with forgotten as (
    delete from outbox.destination_failure as f
    where f.handler = %(handler)s
        and exists (select from outbox.destination as o where o.handler = f.handler and o.breaker_opened_at is not null)
)
update outbox.destination as d
set breaker_opened_at = null, breaker_reason = null, breaker_probe_at = null, breaker_probe_token = null,
    breaker_probes = 0
where d.handler = %(handler)s and d.breaker_opened_at is not null
