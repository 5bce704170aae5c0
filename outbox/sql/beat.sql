-- beat: this relay lives; `asleep` raises the flag that makes publishers ring.
-- index: relay_pk (id)
-- why: the flag expires by itself, so a dead sleeper costs no publisher a NOTIFY for long.
insert into outbox.relay as r (id, started_at, seen_at, handlers, asleep_until)
values (
    %(relay)s, clock_timestamp(), clock_timestamp(), %(handlers)s,
    case when %(asleep)s then clock_timestamp() + interval '30 s' end
)
on conflict on constraint relay_pk do update
    set seen_at = excluded.seen_at, asleep_until = excluded.asleep_until
