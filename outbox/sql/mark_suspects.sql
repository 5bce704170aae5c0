-- mark_suspects: what a worker had locked and neither settled nor gave back is to be claimed alone.
-- index: lease_held_idx (handler collate "C", last_id) where first_id is not null; delivery_pk (id)
-- why: its locks went with its connection; the note of its batch is what remains. A row that is locked still
--      belongs to a worker that is only slow, and is left to it, and its note stays.
with lost as materialized (
    select e.token, e.until, e.deliveries
    from outbox.lease as e
    where e.handler = %(handler)s collate "C"
        and e.until <= coalesce(%(now)s::timestamptz, now())
        and e.first_id is not null
    for update skip locked
), taken as materialized (
    select d.id, l.token, l.until
    from lost as l
    cross join lateral unnest(l.deliveries) as u(id)
    inner join outbox.delivery as d on d.id = u.id
    where d.lease_token is null and d.unknown_at is null
    for update of d skip locked
), marked as (
    update outbox.delivery as d
    set lease_token = t.token, lease_until = t.until
    from taken as t
    where d.id = t.id
)
update outbox.lease as e
set first_id = null, last_id = null
from lost as l
where e.token = l.token
    and not exists (
        select from unnest(l.deliveries) as u(id)
        inner join outbox.delivery as d on d.id = u.id
        where d.lease_token is null and d.unknown_at is null and not d.id = any(select t.id from taken as t)
    )
