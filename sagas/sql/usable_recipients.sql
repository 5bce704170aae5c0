-- usable_recipients: which of these people have a device that can be reached.
-- index: device_tokens_user_idx (user_id)
-- why: one statement for all recipients of a batch, never one per person.
select distinct user_id
from device_tokens
where user_id = any(%(user_ids)s::uuid[])
    and invalidated_at is null
    and last_seen_at > %(seen_since)s
