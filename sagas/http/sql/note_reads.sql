-- note_reads: write down whom only the emergency switch shows to the caller; who may be shown.
-- index: widened_reads_once_an_hour (mentor_id, actor_id, hour)
-- why: what is looked for under service_role passes no policy, so it is asked here (VIS-7).
select shown.mentor_id
from unnest(%(mentor_ids)s::uuid[]) as shown (mentor_id)
where private.reported_read_noted(shown.mentor_id)
