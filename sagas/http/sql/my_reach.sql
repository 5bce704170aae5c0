-- my_reach: the organisations the caller works for, and whether he administers each.
-- index: none, the organisations are few
-- why: reports that are computed when asked for are cut down by the same sets that policies use.
select
    o.id as organisation_id,
    o.code,
    o.timezone,
    o.id = any(array(select private.my_administered_organisations())) as administered
from organisations as o
where o.id = any(array(select private.my_staffed_organisations()))
order by o.code
