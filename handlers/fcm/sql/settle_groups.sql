-- settle_groups: write down how the pushes of a batch ended.
-- index: notification_groups_pkey (id)
-- why: part of the engine's own settlement, so a group never disagrees with its delivery.
--      Attempts add up over runs; a group that waits again has not settled.
with ended as (
    select *
    from unnest(
        %(groups)s::uuid[], %(statuses)s::text[], %(errors)s::text[], %(tries)s::integer[],
        %(resent)s::boolean[], %(times)s::timestamptz[]
    ) as one (group_id, status, error_class, tries, resent, at)
)
update public.notification_groups as told
set status = ended.status,
    attempts = told.attempts + ended.tries,
    error_class = ended.error_class,
    resent = told.resent or ended.resent,
    settled_at = case when ended.status = 'queued' then null else ended.at end
from ended
where told.id = ended.group_id
returning told.id, told.recipient_id, told.kind, told.attempts
