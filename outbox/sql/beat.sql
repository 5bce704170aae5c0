-- beat: this relay lives; `asleep` raises the flag that makes publishers ring.
-- index: relay_pk (id)
-- why: the machine's clock is told too, so that the doctor sees those of all relays. The flag expires by itself,
--      so a dead sleeper costs no publisher a NOTIFY for long.
insert into outbox.relay as r (id, started_at, seen_at, handlers, asleep_until, throttled, version, clock_skew,
    hands_over, trouble)
values (
    %(relay)s, clock_timestamp(), clock_timestamp(), %(handlers)s,
    case when %(asleep)s then clock_timestamp() + interval '30 s' end, %(throttled)s, %(version)s,
    %(host_now)s::timestamptz - clock_timestamp(), %(hands_over)s, %(trouble)s
)
on conflict on constraint relay_pk do update
    set seen_at = excluded.seen_at, asleep_until = excluded.asleep_until, throttled = excluded.throttled,
        clock_skew = excluded.clock_skew, hands_over = excluded.hands_over, trouble = excluded.trouble
