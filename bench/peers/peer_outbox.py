"""Ours, in the same harness: the terms of one measurement come as settings.

`BENCH_EFFECT` database, idempotent or ambiguous; `BENCH_ORDER` none, keyed or newest; `BENCH_KEYS`
how many keys the messages share (0: none has one); `BENCH_HANDLERS` how many handlers take each;
`BENCH_FAILURES` how often each attempt fails first; `BENCH_BATCH` and `BENCH_CONCURRENCY` the terms
of the handler, zero leaving its defaults; `BENCH_BESIDE` 1 for three destinations in trouble beside
it: one that answers 429 with `Retry-After: 5`, one that hangs, one that is paused. `BENCH_BROKER`
is the address of a broker: the relay sends tickets through it to a worker, both in this process.
`BENCH_WAKE_UPS` 0 for a relay that asks nobody to ring and polls.
"""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import psycopg

from bench.ground import statement
from bench.peers import harness
from outbox import (
    App,
    DestinationHeld,
    Done,
    Effect,
    Handler,
    Ladder,
    Message,
    Order,
    Outcome,
    Publication,
    Relay,
    RetryPolicy,
    TransientFailure,
    apublish,
    apublish_many,
    migrations,
)
from outbox.logs import configure_logs
from outbox.redrive import set_paused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox import Attempt
    from outbox.handler import DatabaseCall, OutsideCall

EFFECT: Final = Effect(os.environ.get("BENCH_EFFECT", "database"))
ORDER: Final = Order(os.environ.get("BENCH_ORDER", "none"))
KEYS: Final = harness.setting("KEYS", 0)
HANDLERS: Final = harness.setting("HANDLERS", 1)
FAILURES: Final = harness.setting("FAILURES", 0)
BROKER: Final = os.environ.get("BENCH_BROKER", "")
BATCH: Final = harness.setting("BATCH", 0)
CONCURRENCY: Final = harness.setting("CONCURRENCY", 0)
WAKE_UPS: Final = harness.setting("WAKE_UPS", 1) == 1
BESIDE: Final = harness.setting("BESIDE", 0)
IN_TROUBLE: Final = ("throttled", "hanging", "paused")
RETRY_AFTER_SECONDS: Final = 0.01
PUBLISHED_AT_ONCE: Final = 10_000


class Measured(Message, topic="bench.measured"):
    """The payload of every peer, as a message."""

    seq: int
    order_id: int
    customer: str
    amount: str
    note: str


class Troubled(Message, topic="bench.troubled"):
    """What the destinations in trouble are sent."""

    seq: int


class Ours:
    """The engine through its public surface: publish, and a relay that runs as a daemon."""

    uvloop = True  # where the environment has it; the settings tell
    bulk_how = f"apublish_many, {PUBLISHED_AT_ONCE} a call, one commit each"

    def __init__(self) -> None:
        configure_logs(logging.CRITICAL)
        self._asked: psycopg.AsyncConnection[Any] | None = None

    @property
    def settings(self) -> str:
        """What was measured, in words."""
        first = next(iter(_app(lambda _: None).handlers.values()))
        loop = "uvloop" if find_spec("uvloop") else "asyncio"
        return (
            f"effect={EFFECT}, order={ORDER}, handlers={HANDLERS}, batch_max={first.batch_max}, "
            f"concurrency={first.concurrency}, one relay process{' and worker' if BROKER else ''}, "
            f"psycopg[binary], {loop}"
        )

    async def setup(self) -> None:
        """The schema, and the routes a relay adds when it opens."""
        await asyncio.to_thread(migrations.upgrade, harness.DSN)
        async with Relay(_app(lambda _: None), harness.DSN).opened() as relay:
            if BESIDE:
                async with relay.pool.connection() as conn:
                    await set_paused(
                        conn, handler="paused", paused=True, actor="bench", why="measured so"
                    )

    async def fill(self, count: int) -> None:
        """In bulk."""
        async with await psycopg.AsyncConnection.connect(harness.DSN) as conn:
            for begin in range(0, count, PUBLISHED_AT_ONCE):
                numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
                await apublish_many(
                    conn,
                    [
                        Publication(message=Measured(**harness.payload(number)), key=_key(number))
                        for number in numbers
                    ],
                )
                if BESIDE:
                    await apublish_many(
                        conn, [Publication(message=Troubled(seq=number)) for number in numbers]
                    )
                await conn.commit()

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One message in a transaction of its own."""
        conn = await psycopg.AsyncConnection.connect(harness.DSN)

        async def one(number: int) -> None:
            await apublish(conn, Measured(**harness.payload(number)), key=_key(number))
            await conn.commit()

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True)
        row = await (
            await self._asked.execute(statement("remaining"), {"others": list(IN_TROUBLE)})
        ).fetchone()
        assert row is not None, "one row says whether anything is left"
        return int(row[0])

    async def work(self, on: Callable[[int], Any]) -> None:
        """A relay, with a worker where a broker is named, until the process ends."""
        if BROKER:
            await _work_by_tickets(on)
            return
        relay = Relay(_app(on), harness.DSN, wake_ups=WAKE_UPS)
        async with relay.opened():
            await relay.run(asyncio.Event())


async def _work_by_tickets(on: Callable[[int], Any]) -> None:
    from outbox.transport.brokers import BrokerAddress  # noqa: PLC0415 - the extra
    from outbox.transport.sending import DramatiqSender  # noqa: PLC0415 - as above
    from outbox.transport.tickets import Tickets  # noqa: PLC0415 - as above
    from outbox.transport.worker import Worker  # noqa: PLC0415 - as above

    address, never = BrokerAddress.of(BROKER), asyncio.Event()
    worker = Worker(_app(on), harness.DSN, address)
    relay = Relay(_app(on), harness.DSN, transport=Tickets(DramatiqSender(address)))
    async with worker.opened(), relay.opened():
        await asyncio.gather(worker.run(never), relay.run(never))


def _key(number: int) -> str | None:
    return f"k{number % KEYS}" if KEYS else None


def _app(on: Callable[[int], Any]) -> App:
    app = App("bench")
    terms: dict[str, Any] = {}
    if BATCH:
        terms["batch_max"] = BATCH
    if CONCURRENCY:
        terms["concurrency"] = CONCURRENCY
    if FAILURES:
        terms["breaker"] = None  # it would take a destination that always fails for dead
    for number in range(HANDLERS):
        app.add(
            Handler(
                name=f"measured{number}",
                messages=(Measured,),
                effect=EFFECT,
                call=_call(on),
                order=ORDER,
                retry=RetryPolicy(backoff=Ladder((RETRY_AFTER_SECONDS,)), jitter=0.0),
                **terms,
            )
        )
    if BESIDE:
        for name in IN_TROUBLE:
            app.add(
                Handler(
                    name=name, messages=(Troubled,), effect=Effect.IDEMPOTENT, call=_trouble(name)
                )
            )
    return app


def _trouble(name: str) -> OutsideCall:
    async def call(message: Troubled, attempt: Attempt) -> Outcome:
        del message, attempt
        if name == "throttled":
            raise DestinationHeld("throttled", timedelta(seconds=5))
        await asyncio.Event().wait()  # until its time is up
        return Done()

    return call


def _call(on: Callable[[int], Any]) -> DatabaseCall | OutsideCall:
    def attempted(message: Measured, attempt: Attempt) -> Outcome:
        on(message.seq)
        if attempt.number <= FAILURES:
            raise TransientFailure("asked_to_fail")
        return Done()

    async def inside(message: Measured, attempt: Attempt, conn: Any) -> Outcome:
        del conn
        return attempted(message, attempt)

    async def outside(message: Measured, attempt: Attempt) -> Outcome:
        return attempted(message, attempt)

    return inside if EFFECT is Effect.DATABASE else outside


if __name__ == "__main__":
    harness.main(Ours())
