-- record_observations: remember what the portal was seen to hold and to show.
-- index: portal_sync_state_pkey (mentor_id)
-- why: read back, not claimed: an acknowledgement says stored, this says published.
insert into portal_sync_state (
    mentor_id, observed_version, observed_visible, observed_published, observed_at
)
select wanted.mentor_id, wanted.version, wanted.visible, wanted.published, %(snapshot_at)s
from unnest(
    %(mentor_ids)s::uuid[], %(versions)s::bigint[], %(visibles)s::boolean[],
    %(publisheds)s::boolean[]
) as wanted (mentor_id, version, visible, published)
inner join peer_mentors as m on m.id = wanted.mentor_id
on conflict (mentor_id) do update
set observed_version = excluded.observed_version,
    observed_visible = excluded.observed_visible,
    observed_published = excluded.observed_published,
    observed_at = excluded.observed_at
where portal_sync_state.observed_at is null
    or portal_sync_state.observed_at < excluded.observed_at
