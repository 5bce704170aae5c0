-- prune_leases: forget leases, relays and workers of a day ago that nothing stands under and nobody cleans up after.
-- index: none, these tables hold what runs now, and one row per newest-only key
-- why: a relay closes the expired leases of its own handlers; those of a handler that no relay has any more stay.
--      What is under a lease is found through it, so a lease that still covers something stays too, and so does
--      the note of a held batch, which tells what is to be claimed alone. What was newest of a key is remembered
--      until its message is gone and nothing older of the key can come back. A question whose delivery has ended
--      otherwise is forgotten when it is due, but one that is asked no more never is.
with keys as (
    delete from outbox.key_lease as k
    where k.until < coalesce(%(now)s::timestamptz, now()) - interval '1 day'
    returning 1
), relays as (
    delete from outbox.relay as r where r.seen_at < clock_timestamp() - interval '1 day' returning 1
), workers as (
    delete from outbox.worker as w where w.seen_at < clock_timestamp() - interval '1 day' returning 1
), questions as (
    delete from outbox.question as q
    where not exists (select from outbox.delivery as d where d.id = q.delivery_id)
    returning 1
), newest as (
    delete from outbox.newest as n
    where not exists (select from outbox.message as m where m.id = n.message_id)
        and not exists (select from outbox.delivery as d where d.handler = n.handler and d.key = n.key)
        and not exists (select from outbox.dead_letter as d where d.handler = n.handler and d.key = n.key)
    returning 1
), leases as (
    delete from outbox.lease as e
    where e.until < coalesce(%(now)s::timestamptz, now()) - interval '1 day'
        and e.first_id is null
        and not exists (
            select from outbox.delivery as d
            where d.id = any(e.deliveries) and d.lease_token = e.token and d.unknown_at is null
        )
    returning 1
)
select (select count(*) from keys) + (select count(*) from relays) + (select count(*) from workers)
    + (select count(*) from questions) + (select count(*) from newest) + (select count(*) from leases) as gone
