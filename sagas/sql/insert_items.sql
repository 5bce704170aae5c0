-- insert_items: write what each group says of a change of status, most urgent first.
-- index: notification_items_one_per_position (group_id, position)
-- why: no reminder stands behind these (insert_told has the others); inbox and push render from them.
insert into notification_items (
    group_id, position, mentor_id, kind, certificate_type, certification_id,
    certification_expiry_date, reason
)
select *
from unnest(
    %(group_ids)s::uuid[], %(positions)s::integer[], %(mentor_ids)s::uuid[], %(kinds)s::text[],
    %(certificate_types)s::text[], %(certification_ids)s::uuid[], %(expiry_dates)s::date[],
    %(reasons)s::text[]
)
