-- sleep_relay: register a relay that sleeps for an hour and wants to be woken.
-- index: relay_pk (id)
-- why: every commit rings then, and no relay at work takes the cores from the publishers.
insert into outbox.relay (id, started_at, seen_at, handlers, asleep_until)
values ('bench', now(), now(), '{}', now() + interval '1 hour')
