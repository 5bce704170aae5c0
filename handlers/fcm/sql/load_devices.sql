-- load_devices: every usable address of a batch of recipients, the one last seen first.
-- index: device_tokens_user_idx (user_id)
-- why: one statement for the whole batch (REC-6). Android addresses die after 270 days without a
--      connection; sending to older ones only spends quota (PUSH-8).
select
    device.user_id,
    device.id,
    device.address,
    device.address_kind,
    device.last_seen_at
from public.device_tokens as device
where device.user_id = any (%(recipients)s)
    and device.invalidated_at is null
    and device.last_seen_at > %(now)s::timestamptz - interval '270 days'
order by device.user_id, device.last_seen_at desc, device.id
