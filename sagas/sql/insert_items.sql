-- insert_items: write what each group covers, most urgent first.
-- index: notification_items_one_per_position (group_id, position)
-- why: one row per mentor and certificate in every grouping mode; inbox and push render from these.
insert into notification_items (
    group_id, position, mentor_id, kind, tier, certificate_type, certification_id,
    certification_expiry_date, reminder_id, reason
)
select *
from unnest(
    %(group_ids)s::uuid[], %(positions)s::integer[], %(mentor_ids)s::uuid[], %(kinds)s::text[],
    %(tiers)s::text[], %(certificate_types)s::text[], %(certification_ids)s::uuid[],
    %(expiry_dates)s::date[], %(reminder_ids)s::uuid[], %(reasons)s::text[]
)
