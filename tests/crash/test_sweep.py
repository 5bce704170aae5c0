"""Every pair of crash point, kind of effect and fault: what was promised holds afterwards.

The combinations are drawn pairwise by a seed, which is part of the tests' names;
`OUTBOX_SWEEP_SEED=n` draws others, `OUTBOX_SWEEP_SEED=all` takes every combination.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import outbox.migrations
from outbox import Effect, Order, Publication, publish_many
from outbox.embedded import EmbeddedServer
from outbox.testing import CrashPoint, DatabaseServer
from tests.crash.life import EFFECT_TABLE, KINDS, Life, Parcel, Plan, Seat, Written
from tests.crash.pairwise import pairs_of, pairwise
from tests.crash.promises import LEFT, broken_promises
from tests.crash.proxy import Cut, FaultProxy
from tests.crash.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SEED = os.environ.get("OUTBOX_SWEEP_SEED", "20260301")
PARCELS = 8
LIVES_MAX = 6
AHEAD = timedelta(seconds=60)  # each life is that far ahead of the one before: leases have run out
POINTS = [point for point in CrashPoint if point is not CrashPoint.BROKER_LOST]
AMBIGUOUS = {kind for kind, terms in KINDS.items() if terms["effect"] is Effect.AMBIGUOUS}
FAULTS = ["killed", "server_killed", *(f"cut_{cut}" for cut in Cut)]


def possible(row: tuple[Any, ...]) -> bool:
    """Only ambiguous calls are noted as begun.

    No lease is lost of what a held batch has locked, nor of a call that began: its token stays.
    """
    point, kind, _ = row
    if point is CrashPoint.AFTER_BEGUN:
        return kind in AMBIGUOUS
    return point is not CrashPoint.LEASE_LOST or kind not in {"held", *AMBIGUOUS}


ALL = [row for row in product(POINTS, KINDS, FAULTS) if possible(row)]
ROWS = (
    ALL
    if SEED == "all"
    else pairwise(POINTS, list(KINDS), FAULTS, seed=int(SEED), possible=possible)
)


@pytest.fixture(scope="module")
def mortal() -> Iterator[tuple[EmbeddedServer, DatabaseServer]]:
    """A server that a test may kill. Its commits wait for the operating system, as they should."""
    with EmbeddedServer.start(settings={"fsync": "off"}) as embedded:
        server = DatabaseServer(embedded.dsn())
        yield embedded, server
        server.close()


def test_the_combinations_hold_every_pair() -> None:
    wanted = {pair for row in ALL for pair in pairs_of(row)}

    assert {pair for row in ROWS for pair in pairs_of(row)} == wanted


@pytest.mark.parametrize(
    ("point", "kind", "fault"), ROWS, ids=[f"{'-'.join(row)}-seed_{SEED}" for row in ROWS]
)
async def test_a_fault_at_a_point_breaks_no_promise(
    point: CrashPoint, kind: str, fault: str, mortal: tuple[EmbeddedServer, DatabaseServer]
) -> None:
    embedded, server = mortal
    is_database = KINDS[kind]["effect"] is Effect.DATABASE
    is_ambiguous, order = kind in AMBIGUOUS, KINDS[kind].get("order")
    # a stalled life goes on with its run, since in its own time its lease is a moment old
    order_is_seen = not is_database and order is not None and point is not CrashPoint.LEASE_LOST
    with server.database(outbox.migrations) as dsn:
        set_up(dsn, kind)
        publish(dsn)
        proxy, receiver = FaultProxy(dsn), Receiver()
        async with proxy.listening(), receiver.listening():
            lives = _Lives(dsn, kind, receiver.port)
            plan = Plan(point, nth=2 if kind == "held" else 1, dies=fault == "killed")
            life = lives.next(plan, through=proxy.through if fault.startswith("cut") else dsn)
            words = []
            while (word := await life.word()) is not None:
                words.append(word)
                if word == "stalled":
                    await lives.drain()
                elif fault == "server_killed":
                    await asyncio.to_thread(embedded.crash)
                    await asyncio.to_thread(embedded.restart)
                else:
                    proxy.arm(Cut(fault.removeprefix("cut_")))
                life.go_on()
            code = await life.end()
            await lives.drain()

        with psycopg.connect(dsn) as conn:
            broken = broken_promises(
                conn,
                database=[kind] if is_database else [],
                ambiguous=[kind] if is_ambiguous else [],
                keyed=[kind] if is_database and order is Order.KEYED else [],
                newest=[kind] if order is Order.NEWEST else [],
                arrived={} if is_database else {kind: receiver.arrived[kind]},
                came={kind: receiver.came[kind]} if order_is_seen else {},
            )
            written = conn.execute(
                "select count(*) from outbox.message where topic = %s", [Written.declaration.topic]
            ).fetchone()
        assert (code == -9) if fault == "killed" else ("reached" in words)
        assert proxy.cuts == fault.startswith("cut")
        assert broken == []
        assert written == (PARCELS if is_database else 0,)


def set_up(dsn: str, kind: str) -> None:
    """A table for effects, and a route to the one handler."""
    with psycopg.connect(dsn) as conn:
        conn.execute(EFFECT_TABLE)
        conn.execute(
            "insert into outbox.route (topic, handler, ordered) values (%s, %s, %s)",
            [Parcel.declaration.topic, kind, "order" in KINDS[kind]],
        )


def publish(dsn: str) -> None:
    """The parcels, of two keys."""
    with psycopg.connect(dsn) as conn:
        publish_many(
            conn,
            [Publication(message=Parcel(number=n), key=f"k{n % 2}") for n in range(PARCELS)],
        )


class _Lives:
    """The lives of a relay, one after the other, each ahead of the one before."""

    def __init__(self, dsn: str, kind: str, port: int) -> None:
        self._dsn, self._kind, self._port, self._count = dsn, kind, port, 0

    def next(self, plan: Plan | None = None, *, through: str | None = None) -> Life:
        """Start one."""
        ahead = self._count * AHEAD
        self._count += 1
        return Life(Seat(through or self._dsn, self._kind, self._port, ahead), plan)

    async def drain(self) -> None:
        """Live until nothing waits any more."""
        for _ in range(LIVES_MAX):
            with psycopg.connect(self._dsn) as conn:
                if conn.execute(f"select 1 from {LEFT}").fetchone() is None:
                    return
            assert await self.next().end() == 0
