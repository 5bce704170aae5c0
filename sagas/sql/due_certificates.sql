-- due_certificates: one page of the certificates that count and whose last valid day is in reach.
-- index: certifications_counted_idx (mentor_id, certificate_type, expiry_date desc)
-- why: keyset pages keep memory bounded. A row without expiry comes too: it is counted as failed,
--      never lost. Of a mentor's certificates of one type only the latest counts (ties: latest
--      issue, smallest id), the order in which eligibility.eligible ranks them.
select c.id as certification_id, c.mentor_id, c.certificate_type, c.expiry_date
from certifications as c
inner join peer_mentors as m on m.id = c.mentor_id
where m.organisation_id = %(organisation_id)s
    and m.status in ('active', 'paused')
    and c.revoked_at is null
    and (c.expiry_date is null or c.expiry_date between %(first)s and %(last)s)
    and (c.mentor_id, c.id) > (%(after_mentor)s, %(after_certification)s)
    and not exists (
        select
        from certifications as newer
        where newer.mentor_id = c.mentor_id
            and newer.certificate_type = c.certificate_type
            and newer.revoked_at is null
            and (
                newer.expiry_date > c.expiry_date
                or (
                    newer.expiry_date = c.expiry_date
                    and (
                        coalesce(newer.issued_on, '-infinity') > coalesce(c.issued_on, '-infinity')
                        or (
                            newer.issued_on is not distinct from c.issued_on
                            and newer.id < c.id
                        )
                    )
                )
            )
    )
order by c.mentor_id, c.id
limit %(limit)s
