-- silent_devices: usable addresses not heard of for long, those that end first at the top.
-- index: device_tokens_user_idx (user_id)
-- why: a person asks now and then, so the addresses are read once and no index is kept for it; the
--      named one answers, person by person, whether another device still reaches him. Behind
--      `seen_since` an address is sent nothing any more (PUSH-8) and is no longer told of. Addresses
--      themselves are secrets of a kind, and stay here.
select
    device.id as device_id,
    device.user_id,
    place.codes as organisations,
    device.platform,
    device.last_seen_at,
    not exists (
        select
        from device_tokens as other
        where other.user_id = device.user_id
            and other.invalidated_at is null
            and other.last_seen_at > %(silent_since)s
    ) as reached_by_no_other
from device_tokens as device
cross join lateral (
    select coalesce(array_agg(distinct o.code order by o.code), '{}') as codes
    from organisations as o
    where o.id in (
        select m.organisation_id from peer_mentors as m where m.id = device.user_id
        union all
        select r.organisation_id
        from user_roles as r
        where r.user_id = device.user_id and r.active
    )
) as place
where device.invalidated_at is null
    and device.last_seen_at <= %(silent_since)s
    and device.last_seen_at > %(seen_since)s
    and (%(code)s::text is null or %(code)s = any (place.codes))
order by device.last_seen_at, device.id
