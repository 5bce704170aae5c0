-- uncount_alone: forget that deliveries were claimed alone, since their worker lives.
-- index: delivery_pk (id)
-- why: only what kills its worker may be buried. What was settled has no count or is gone; what was given back
--      has no lease; what was lost to an outage of the database may be in other hands by now: it is a counter,
--      so that whoever has it loses nothing but this one.
update outbox.delivery as d
set lone_claims = d.lone_claims - 1
where d.id = any(%(ids)s::bigint[])
    and d.lone_claims > 0
    and (d.lease_token is null or %(outage)s)
returning d.id
