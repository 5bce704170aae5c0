-- ring: ring the bell once.
-- index: none, one row
-- why: whether it is heard where relays listen is only known by ringing.
select pg_notify('outbox', %(word)s)
