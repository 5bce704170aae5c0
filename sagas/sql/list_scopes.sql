-- list_scopes: how the emergency switch of every organisation stands.
-- index: feature_flags_pkey (organisation_id, flag)
-- why: one that has expired is as one that was turned off.
select
    o.code,
    coalesce(f.enabled and f.expires_at > %(now)s, false) as wide,
    f.expires_at,
    f.reason
from organisations as o
left join feature_flags as f on f.organisation_id = o.id and f.flag = %(flag)s
order by o.code
