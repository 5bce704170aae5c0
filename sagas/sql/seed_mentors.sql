-- seed_mentors: sow mentors.
-- index: peer_mentors_pkey (id)
-- why: one statement for all rows; who is paused was paused by hand.
insert into peer_mentors (id, organisation_id, status, pause_source, paused_at)
select
    sown.id, sown.organisation_id, sown.status,
    case when sown.status = 'paused' then 'manual' end,
    case when sown.status = 'paused' then %(now)s::timestamptz end
from unnest(%(c0)s::uuid[], %(c1)s::uuid[], %(c2)s::text[]) as sown (id, organisation_id, status)
