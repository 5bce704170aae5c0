-- renew_certificate: issue a new certificate of the type that lapsed, valid until `expiry_date`.
-- index: none, one row
-- why: the trigger on certifications does the rest: suppression, return, visibility.
insert into certifications (mentor_id, certificate_type, issued_on, expiry_date, required)
select c.mentor_id, c.certificate_type, %(issued_on)s, %(expiry_date)s, true
from certifications as c
where c.mentor_id = %(mentor_id)s and c.required and c.revoked_at is null
group by c.mentor_id, c.certificate_type
