-- sync_event: how a mentor's newest version stands on its way to the portal.
-- index: peer_mentors_pkey (id)
-- why: the answer to a retry and to a forced sync (SYN-8, SYN-9).
select
    e.version, e.visible, e.reason, e.status, e.attempts, e.last_code, e.changed_at, e.acked_at
from visibility_sync_events as e
where e.mentor_id = %(mentor_id)s
