-- insert_groups: open one notification group per dedup key; an open one gives no row.
-- index: notification_groups_once_per_dedup_key (dedup_key)
-- why: the key is derived from run and recipient, so a repeat opens nothing.
insert into notification_groups (organisation_id, recipient_id, kind, run_id, dedup_key, created_at)
select
    %(organisation_id)s, wanted.recipient_id, wanted.kind, %(run_id)s, wanted.dedup_key, %(now)s
from unnest(%(recipient_ids)s::uuid[], %(kinds)s::text[], %(dedup_keys)s::text[]) as wanted (
    recipient_id, kind, dedup_key
)
on conflict (dedup_key) do nothing
returning id, dedup_key
