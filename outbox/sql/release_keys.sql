-- release_keys: give back the lease of ordering keys whose runs are over.
-- index: key_lease_pk (handler, key)
-- why: in the commit that settled the last delivery of the run, so that the next worker sees both.
delete from outbox.key_lease as k
where k.handler = %(handler)s and k.key = any(%(keys)s::text[]) and k.token = %(token)s
