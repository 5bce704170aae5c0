"""How many no-op deliveries one process drains per second, for each effect, beside plain SQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from bench.figures import Figure, ratios
from bench.ground import statement
from outbox import (
    App,
    Done,
    Effect,
    Handler,
    Message,
    Outcome,
    Publication,
    Relay,
    inspection,
    publish_many,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.figures import Scale
    from bench.ground import Ground
    from outbox import Attempt

PAYLOAD_BYTES = 200
LIMIT_BATCH = 1_000
_PUBLISHED_AT_ONCE = 1_000
# A no-op handler waits for nobody: slots beyond the default only make statements larger.
_WIDE = {"concurrency": 500, "batch_max": 500}


class Measured(Message, topic="bench.measured"):
    """A message whose payload takes about 200 bytes of JSON."""

    text: str = "x" * (PAYLOAD_BYTES - len('{"text":""}'))


async def _call_out(message: Measured, attempt: Attempt) -> Outcome:
    del message, attempt
    return Done()


async def _call_inside(message: Measured, attempt: Attempt, conn: Any) -> Outcome:
    del message, attempt, conn
    return Done()


async def drain(ground: Ground, scale: Scale) -> list[Figure]:
    """Figures per effect, with the default and with wide settings, and their ratio to plain SQL."""
    rates: dict[str, list[float]] = {}
    settings = {"default": dict[str, int](), "wide": _WIDE}
    for _ in range(scale.runs):
        rates.setdefault("sql alone", []).append(_limit(ground, scale.deliveries))
        for word, more in settings.items():
            for effect in Effect:
                rate = await _rate(ground, scale.deliveries, effect, more)
                rates.setdefault(f"{effect}, {word}", []).append(rate)
    terms = {"deliveries": scale.deliveries, "payload_bytes": PAYLOAD_BYTES, "processes": 1}
    figures = {
        name: Figure("drain", name, "deliveries/s", tuple(values), terms | _terms(name))
        for name, values in rates.items()
    }
    limit = figures.pop("sql alone")
    shares = [ratios(f"{name} / sql alone", one, limit) for name, one in figures.items()]
    return [limit, *figures.values(), *shares]


def _terms(name: str) -> dict[str, Any]:
    if name == "sql alone":
        return {"batch": LIMIT_BATCH, "commits_per_batch": 2}
    return dict(_WIDE) if name.endswith("wide") else {"concurrency": 10, "batch_max": 200}


async def _rate(ground: Ground, count: int, effect: Effect, more: dict[str, int]) -> float:
    call = _call_inside if effect is Effect.DATABASE else _call_out
    app = App("bench")
    app.add(
        Handler(
            name="measured",
            messages=(Measured,),
            effect=effect,
            call=call,
            concurrency=more.get("concurrency", 10),
            batch_max=more.get("batch_max", 200),
        )
    )
    with ground.fresh() as dsn:
        relay = Relay(app, dsn)
        async with relay.opened():
            _fill(dsn, count)
            began = time.perf_counter()
            await relay.drain()
            took = time.perf_counter() - began
            async with relay.pool.connection() as conn:
                (census,) = await inspection.census(conn)
        if census.done != count:
            message = f"{count} were published and {census.done} are done: nothing was measured"
            raise RuntimeError(message)
    return count / took


def _limit(ground: Ground, count: int) -> float:
    """The same table, drained by two statements per batch and no engine."""
    claim, settle = statement("limit_claim"), statement("limit_settle")
    with ground.fresh() as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("insert into outbox.route (topic, handler) values (%s, 'measured')",
                     [Measured.declaration.topic])  # fmt: skip
        _fill(dsn, count)
        after = done = 0
        began = time.perf_counter()
        while True:
            token = uuid4()
            terms = {
                "handler": "measured", "after": after, "limit": LIMIT_BATCH, "token": token,
            }  # fmt: skip
            rows = conn.execute(claim, terms).fetchall()
            if not rows:
                break
            ids = [row[0] for row in rows]
            after = ids[-1]
            settled = conn.execute(
                settle, {"ids": ids, "token": token, "handler": "measured"}
            ).fetchone()
            done += settled[0] if settled else 0
        took = time.perf_counter() - began
    if done != count:
        message = f"{count} were published and {done} are done: nothing was measured"
        raise RuntimeError(message)
    return count / took


def _fill(dsn: str, count: int) -> None:
    with psycopg.connect(dsn) as conn:
        for part in _parts(count):
            publish_many(conn, [Publication(message=Measured()) for _ in range(part)])
        conn.commit()
        conn.autocommit = True
        conn.execute("vacuum analyze outbox.message, outbox.delivery")


def _parts(count: int) -> Iterable[int]:
    full, rest = divmod(count, _PUBLISHED_AT_ONCE)
    return [_PUBLISHED_AT_ONCE] * full + ([rest] if rest else [])
