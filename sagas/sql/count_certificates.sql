-- count_certificates: how many records a run judges, those out of reach included.
-- index: certifications_counted_idx (mentor_id, certificate_type, expiry_date desc)
-- why: a run reports what it found not due without ever fetching it. One per mentor and type, plus
--      every row that has no expiry.
select
    count(distinct (c.mentor_id, c.certificate_type)) filter (where c.expiry_date is not null)
    + count(*) filter (where c.expiry_date is null)
from certifications as c
inner join peer_mentors as m on m.id = c.mentor_id
where m.organisation_id = %(organisation_id)s
    and m.status in ('active', 'paused')
    and c.revoked_at is null
