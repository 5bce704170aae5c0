-- forget_devices: mark addresses that FCM says are dead, unless the app has come back meanwhile.
-- index: device_tokens_address_is_unique (address)
-- why: between building the push and this line the app may have registered again; then the address
--      or the time it was last seen differs, and the new registration stands (PUSH-8).
with refused as (
    select *
    from unnest(
        %(devices)s::uuid[], %(addresses)s::text[], %(seen)s::timestamptz[], %(reasons)s::text[]
    ) as one (id, address, last_seen_at, reason)
)
update public.device_tokens as device
set invalidated_at = %(at)s,
    invalid_reason = refused.reason
from refused
where device.id = refused.id
    and device.address = refused.address
    and device.last_seen_at = refused.last_seen_at
    and device.invalidated_at is null
returning device.id
