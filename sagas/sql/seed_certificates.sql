-- seed_certificates: sow certificates.
-- index: certifications_pkey (id)
-- why: one statement for all rows; the trigger computes each mentor's dates.
insert into certifications (
    id, mentor_id, certificate_type, issued_on, expiry_date, required, revoked_at
)
select *
from unnest(
    %(c0)s::uuid[], %(c1)s::uuid[], %(c2)s::text[], %(c3)s::date[], %(c4)s::date[],
    %(c5)s::boolean[], %(c6)s::timestamptz[]
)
