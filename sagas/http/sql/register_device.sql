-- register_device: let an address reach the caller from now on; the device's id.
-- index: device_tokens_address_is_unique (address)
-- why: the function takes the person from the claims, so that nobody registers for another.
select register_device(%(address)s, %(address_kind)s, %(platform)s)
