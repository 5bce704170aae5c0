-- claim_lone: lease one delivery that was taken and not settled, alone, and count that.
-- index: lease_expiry_idx (handler, until); delivery_pk (id); delivery_key_idx (handler, key, position, id);
--        key_lease_pk (handler, key); dead_letter_handler_idx (handler, key, delivery_id); message_pk (id)
-- why: whoever held it died or stalled; if the message is what kills its workers, be it in `prepare`, only
--      it may suffer. What began an ambiguous call is not claimed again: expire_begun decides about it. Of
--      an ordered handler (`headed`) only the head of a key, and of no key that is in somebody's hands.
with quick as materialized (
    select set_config('synchronous_commit', 'off', true)
), open as (
    select handler
    from outbox.destination cross join quick
    where handler = %(handler)s
        and paused_at is null
        and circuit_opened_at is null
        and (breaker_opened_at is null or breaker_probe_token = %(token)s)
        and (held_until is null or held_until <= coalesce(%(now)s::timestamptz, now()))
), suspect as materialized (
    select d.id
    from outbox.lease as e
    cross join lateral unnest(e.deliveries) as u(id)
    inner join outbox.delivery as d on d.id = u.id
    where e.handler = (select handler from open)
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and e.queue is null
        and (%(reads)s::text[] is null or (
            select m.topic || ' ' || m.version = any(%(reads)s::text[]) from outbox.message as m where m.id = d.message_id
        ))
        and d.lease_token = e.token
        and d.lease_until <= coalesce(%(now)s::timestamptz, now())
        and d.begun_at is null
        and d.unknown_at is null
        and not exists (
            select from outbox.key_lease as k
            where k.handler = d.handler and k.key = d.key and k.until > coalesce(%(now)s::timestamptz, now())
        )
        and not (%(headed)s and exists (
            select from outbox.delivery as f
            where f.handler = d.handler
                and f.key = d.key
                and (f.position, f.id) < (d.position, d.id)
                and (f.due_at is null or f.last_reason is not null or f.due_at <= coalesce(%(now)s::timestamptz, now()))
        ))
        and not (%(blocks)s and exists (
            select from outbox.dead_letter as l
            where l.handler = d.handler and l.key = d.key and (l.position, l.delivery_id) < (d.position, d.id)
        ))
    order by e.until, d.id
    limit 1
    for update of d skip locked
), mine as (
    insert into outbox.key_lease as k (handler, key, token, until)
    select d.handler, d.key, %(token)s, coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval
    from suspect as s
    inner join outbox.delivery as d on d.id = s.id
    where d.key is not null
    on conflict on constraint key_lease_pk do update
        set token = excluded.token, until = excluded.until
        where k.until <= coalesce(%(now)s::timestamptz, now())
    returning k.key
), leased as (
    update outbox.delivery as d
    set lease_token = %(token)s,
        lease_until = coalesce(%(now)s::timestamptz, now()) + %(lease)s::interval,
        lone_claims = d.lone_claims + 1
    from suspect as s
    where d.id = s.id and (d.key is null or exists (select from mine))
    returning d.*
), batch as (
    insert into outbox.lease as held (token, handler, relay, until, deliveries)
    select %(token)s, %(handler)s, %(relay)s, min(l.lease_until), array_agg(l.id)
    from leased as l
    having count(*) > 0
    on conflict on constraint lease_pk do update set deliveries = held.deliveries || excluded.deliveries
)
select l.id, l.message_id, l.key, l.position, l.attempts, l.resends, l.lease_until, false as fresh,
    m.topic, m.version, m.payload::text as payload, m.headers ->> 'traceparent' as traceparent,
    m.key as message_key, m.sequence, m.correlation_id, m.created_at
from leased as l
inner join outbox.message as m on m.id = l.message_id
