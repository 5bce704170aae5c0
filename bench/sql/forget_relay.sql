-- forget_relay: no relay sleeps any more.
-- index: relay_pk (id)
-- why: publishers ring for nobody then.
delete from outbox.relay
where id = 'bench'
