-- owners_of_addresses: whose devices these are; an address nobody registered gives no row.
-- index: device_tokens_address_is_unique (address)
-- why: a client names devices, and rights belong to people (DSP-9).
select t.address, t.user_id
from device_tokens as t
where t.address = any(%(addresses)s::text[])
