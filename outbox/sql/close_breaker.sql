-- close_breaker: the probe ended well; calls go on, and what the destination had failed is due again, paced.
-- index: destination_pk (handler); destination_failure_pk (handler, delivery_id); delivery_pk (id)
-- why: fenced by the probe's token. Only what failed of this destination comes forward, never what a handler
--      itself wanted later. It begins with `pace` deliveries in the first second and doubles each second, so
--      that a destination that has just recovered is not run over.
with closed as (
    update outbox.destination as d
    set breaker_opened_at = null, breaker_reason = null, breaker_probe_at = null, breaker_probe_token = null,
        breaker_probes = 0
    where d.handler = %(handler)s and d.breaker_probe_token = %(token)s
    returning d.handler
), failed as (
    delete from outbox.destination_failure as f
    using closed as c
    where f.handler = c.handler and f.handler = %(handler)s
    returning f.delivery_id
), queued as (
    select d.id, row_number() over (order by d.attempts, d.id) as place
    from failed as f
    inner join outbox.delivery as d on d.id = f.delivery_id
    where d.due_at > coalesce(%(now)s::timestamptz, now()) and d.lease_token is null and d.unknown_at is null
), forward as (
    update outbox.delivery as d
    set due_at = least(
        d.due_at,
        coalesce(%(now)s::timestamptz, now()) + make_interval(secs => ln(1 + (q.place - 1)::float8 / %(pace)s) / ln(2))
    )
    from queued as q
    where d.id = q.id and d.lease_token is null and d.unknown_at is null
)
select handler from closed
