"""How many no-op deliveries a relay drains per second, beside SQL alone and under hard terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import floor, trial
from bench.contenders import ALONE, OURS, ours
from bench.environments import NotInstalled
from bench.figures import Figure, Gathered

if TYPE_CHECKING:
    from bench.contenders import Contender
    from bench.figures import Scale
    from bench.ground import Ground

EFFECTS = ("database", "idempotent", "ambiguous")
PER_SECOND = "deliveries/s"
_WIDE = {"batch": 500, "concurrency": 500}
_SNAPSHOT_BATCHES = (100, 1_000)


async def drain(ground: Ground, scale: Scale) -> list[Figure]:
    """No-op handlers called once per message, everything committed durably.

    *ours* claims 500 at once in one relay process; *default terms* is a handler's declaration
    untouched; *two processes* share the work. *SQL alone* is pgbench on a plain table in batches of
    1,000, writing the same rows: lease, (mark of the begun call,) deletion, receipt. *psycopg
    alone* does the same through the driver: rows are parsed, and nobody is called.
    """
    got = Gathered("drain", deliveries=scale.deliveries, payload_bytes=200)
    for _ in range(scale.runs):
        for script in dict.fromkeys(floor.SHAPES.values()):
            _limit(ground, scale, got, script)
        for effect in EFFECTS:
            one = _drained(ground, scale, OURS[f"ours {effect}"], scale.deliveries)
            got.add(f"ours {effect}", one.rate, PER_SECOND, **_terms(one))
        if scale.quick:
            continue
        for alone in ALONE.values():
            one = _drained(ground, scale, alone, 4 * scale.deliveries)
            got.add(alone.name, one.rate, PER_SECOND, **_terms(one))
        for script in sorted({"b", "c", "c_receipt"} - set(floor.SHAPES.values())):
            _limit(ground, scale, got, script)
        for effect in EFFECTS:
            plain = _drained(ground, scale, ours("plain", effect=effect), scale.deliveries)
            got.add(f"ours {effect}, default terms", plain.rate, PER_SECOND, **_terms(plain))
            two = trial.shared_drain(ground, OURS[f"ours {effect}"], scale.deliveries, 2)
            got.add(f"ours {effect}, two processes", two.rate, PER_SECOND, **_terms(two))
    shares = [
        figure
        for effect in EFFECTS
        for figure in got.ratio(
            f"ours {effect} / its limit", f"ours {effect}", _limit_name(floor.SHAPES[effect])
        )
    ] + [
        figure
        for effect, alone in ALONE.items()
        for figure in got.ratio(
            f"{alone.name} / its limit", alone.name, _limit_name(floor.SHAPES[effect])
        )
    ]
    return got.figures(*shares)


async def backlog(ground: Ground, scale: Scale) -> list[Figure]:
    """The first deliveries of a large backlog, beside a drain of as many; the relay's memory.

    Peak memory is the relay process's own (VmHWM) with all of the backlog waiting behind it.
    """
    got = Gathered("backlog", drained=scale.backlog_drained)
    for _ in range(1 if scale.quick else 2):
        for effect in ("database", "idempotent"):
            few = _drained(ground, scale, OURS[f"ours {effect}"], scale.backlog_drained)
            got.add(f"ours {effect}, nothing behind", few.rate, PER_SECOND, **_terms(few))
            many = _drained(
                ground, scale, OURS[f"ours {effect}"], scale.backlog_drained, backlog=scale.backlog
            )
            behind = f"ours {effect}, {scale.backlog:,} waiting"
            got.add(behind, many.rate, PER_SECOND, **_terms(many))
            got.add(f"ours {effect}, peak memory", many.peak_mb, "MB", waiting=scale.backlog)
    shares = [
        figure
        for effect in ("database", "idempotent")
        for figure in got.ratio(
            f"ours {effect}, large / small backlog",
            f"ours {effect}, {scale.backlog:,} waiting",
            f"ours {effect}, nothing behind",
        )
    ]
    return got.figures(*shares)


async def snapshot(ground: Ground, scale: Scale) -> list[Figure]:
    """A drain while another session holds a snapshot from before its begin to its end.

    The first and the last handlers' starts are compared: dead rows can not be removed meanwhile,
    and a claim that walks over them slows down.
    """
    window = scale.window
    got = Gathered("snapshot", deliveries=scale.snapshot, window=window)
    for _ in range(1 if scale.quick else 2):
        for effect in ("database", "idempotent"):
            for batch in _SNAPSHOT_BATCHES:
                terms = ours("held", effect=effect, batch=batch, concurrency=batch)
                one = _drained(ground, scale, terms, scale.snapshot, held=True)
                name = f"ours {effect}, batches of {batch:,}"
                if one.count < 2 * window:
                    why = f"stopped after {one.count:,} handler starts"
                    got.lacks(f"{name}: last / first", "ratio", why)
                    continue
                begin = one.stamps[-1][0] - window
                first, last = one.between(0, window), one.between(begin, begin + window)
                got.add(f"{name}: first", first, PER_SECOND, **_terms(one))
                got.add(f"{name}: last", last, PER_SECOND, **_terms(one))
                got.add(f"{name}: last / first", last / first, "ratio", **_terms(one))
    return got.figures()


async def keys(ground: Ground, scale: Scale) -> list[Figure]:
    """Ordering keys: one key for all, as many keys as messages, and newest only.

    *newest only* counts messages, most of which are superseded without a call. *SQL alone* writes
    and removes a lease of each key beside the rows of the unordered limit; with *heads* it leases
    what is the head of a key once the key's lease is committed, as the order needs it.
    """
    got = Gathered("keys", deliveries=scale.keys)
    count = scale.keys
    for _ in range(1 if scale.quick else 2):
        for script in [one for pair in floor.KEYED.values() for one in pair] + [floor.HEADS]:
            _limit(ground, scale, got, script)
        for effect in ("database", "idempotent"):
            terms = {"effect": effect, **_WIDE}
            loose = _drained(ground, scale, ours("loose", **terms), count)
            got.add(f"{effect}, unordered", loose.rate, PER_SECOND, **_terms(loose))
            many = _drained(ground, scale, ours("many", order="keyed", keys=count, **terms), count)
            got.add(f"{effect}, {count:,} keys", many.rate, PER_SECOND, **_terms(many))
            hot = _drained(ground, scale, ours("hot", order="keyed", keys=1, **terms), count)
            got.add(f"{effect}, one hot key", hot.rate, PER_SECOND, **_terms(hot))
            if len(hot.stamps) > 1:
                half, whole = hot.stamps[len(hot.stamps) // 2 - 1][0], hot.stamps[-1][0]
                flat = hot.between(half, whole) / hot.between(0, half)
                name = f"{effect}, one hot key: second / first half"
                got.add(name, flat, "ratio", **_terms(hot))
            newest = ours("newest", order="newest", keys=count // 10, **terms)
            few = trial.shared_drain(ground, newest, count, 1, whole=True)
            rate = count / few.seconds
            got.add(f"{effect}, newest of ten", rate, "messages/s", calls=few.count)
    shares = [
        figure
        for effect in ("database", "idempotent")
        for figure in got.ratio(
            f"{effect}, keys / unordered", f"{effect}, {count:,} keys", f"{effect}, unordered"
        )
    ] + [
        figure
        for effect, (plain, keyed) in floor.KEYED.items()
        for name, limit in (("keys", keyed), ("heads", floor.HEADS))
        for figure in got.ratio(
            f"{effect}, SQL alone: {name} over unordered", _limit_name(limit), _limit_name(plain)
        )
    ]
    return got.figures(*shares)


async def shapes(ground: Ground, scale: Scale) -> list[Figure]:
    """Fan-out to three handlers, and attempts that fail twice before they succeed.

    Counted are handler starts: three for each message in both.
    """
    got = Gathered("shapes", messages=scale.deliveries // 2)
    count = scale.deliveries // 2
    for _ in range(1 if scale.quick else scale.runs):
        for effect in ("database", "idempotent"):
            terms = {"effect": effect, **_WIDE}
            for name, more in (
                ("three handlers", {"handlers": 3}),
                ("two failures", {"failures": 2}),
            ):
                one = _drained(ground, scale, ours(name, **terms, **more), count, starts=3 * count)
                got.add(f"{effect}, {name}", one.rate, "handler starts/s", **_terms(one))
    return got.figures()


def _drained(
    ground: Ground, scale: Scale, contender: Contender, count: int, **terms: Any
) -> trial.Drained:
    return trial.drain(ground, contender, count, seconds_max=scale.seconds_max, **terms)


def _limit(ground: Ground, scale: Scale, got: Gathered, script: str) -> None:
    name = _limit_name(script)
    try:
        rate = floor.measure(ground, script, 4 * scale.deliveries)
    except NotInstalled as why:
        got.lacks(name, PER_SECOND, str(why))
        return
    got.add(name, rate, PER_SECOND, batch=floor.BATCH, clients=1, rows=4 * scale.deliveries)


def _limit_name(script: str) -> str:
    return f"SQL alone: {floor.LIMITS[script]}"


def _terms(one: trial.Drained) -> dict[str, object]:
    """The settings of a measured drain, and what it cost per 10,000 deliveries."""
    tens = one.count / 10_000 or 1
    return {
        "settings": one.settings,
        "worker_cpu_seconds_per_10k": round(one.worker_cpu_seconds / tens, 3),
        "server_cpu_seconds_per_10k": round(one.server_cpu_seconds / tens, 3),
        "peak_mb": one.peak_mb,
        **({"stopped_after": one.count} if one.stopped else {}),
    }
