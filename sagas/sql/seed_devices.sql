-- seed_devices: sow devices, all seen just now.
-- index: device_tokens_address_is_unique (address)
-- why: one statement for all rows.
insert into device_tokens (user_id, address, platform, last_seen_at)
select sown.*, %(now)s::timestamptz
from unnest(%(c0)s::uuid[], %(c1)s::text[], %(c2)s::text[]) as sown (user_id, address, platform)
