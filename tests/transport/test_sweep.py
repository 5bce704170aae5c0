"""Every pair of seat, crash point, kind of effect and fault, where tickets go through a broker.

The seat is the process that meets the fault: a relay or a worker, over RabbitMQ or Redis. The
combinations are drawn as in `tests/crash/test_sweep.py`, and `OUTBOX_SWEEP_SEED` means the same.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import cycle, product
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import outbox.migrations
from outbox import Effect, Order
from outbox.testing import CrashPoint
from outbox.transport.brokers import BrokerAddress
from outbox.transport.worker import taken_of
from tests.crash.life import KINDS, READY, Life, Plan, Role, Seat, application
from tests.crash.pairwise import pairs_of, pairwise
from tests.crash.promises import LEFT, broken_promises
from tests.crash.proxy import Cut, FaultProxy
from tests.crash.receiver import Receiver
from tests.crash.test_sweep import (
    AHEAD,
    AMBIGUOUS,
    FAULTS,
    LIVES_MAX,
    SEED,
    mortal,
    publish,
    set_up,
)
from tests.transport.conftest import BROKERS, broker_url
from tests.transport.proxy import proxied
from tests.transport.scene import until
from tests.transport.test_brokers import forget, identity_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outbox.embedded import EmbeddedServer
    from outbox.testing import DatabaseServer

__all__ = ["mortal"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEATS = [f"{role}_{broker}" for role in (Role.RELAY, Role.WORKER) for broker in BROKERS]
OF_THE_RELAY = {CrashPoint.BEFORE_CLAIM_COMMIT, CrashPoint.AFTER_CLAIM, CrashPoint.BROKER_LOST}
TICKET_KINDS = [kind for kind in KINDS if kind != "held"]  # nothing is held across a broker
DRAIN_SECONDS = 10.0
KINDS_OF_FAULT = ["killed", "server_killed", "cut"]


def possible(row: tuple[Any, ...]) -> bool:
    """A relay only claims and sends; what a worker may meet is what inline may meet."""
    seat, point, kind, _ = row
    if seat.startswith(Role.RELAY):
        return point in OF_THE_RELAY
    if point is CrashPoint.AFTER_BEGUN:
        return kind in AMBIGUOUS
    if point is CrashPoint.LEASE_LOST:
        return kind not in AMBIGUOUS
    return point is not CrashPoint.BROKER_LOST


def drawn(seed: int) -> list[tuple[Any, ...]]:
    """Every pair, with the ways to cut a connection in turn: a case costs four processes."""
    ways, values = cycle(Cut), (SEATS, list(CrashPoint), TICKET_KINDS, KINDS_OF_FAULT)
    return [
        (*rest, f"cut_{next(ways)}" if fault == "cut" else fault)
        for *rest, fault in pairwise(*values, seed=seed, possible=possible)
    ]


ALL = [row for row in product(SEATS, CrashPoint, TICKET_KINDS, FAULTS) if possible(row)]
ROWS = ALL if SEED == "all" else drawn(int(SEED))


def test_the_combinations_hold_every_pair() -> None:
    """Of faults, each way to cut is met, though not at each point."""
    wanted = {pair for row in ALL for pair in pairs_of((*row[:3], row[3].partition("_")[0]))}

    assert {
        pair for row in ROWS for pair in pairs_of((*row[:3], row[3].partition("_")[0]))
    } == wanted
    assert {fault for *_, fault in ROWS} == set(FAULTS)


@pytest.mark.parametrize(
    ("seat", "point", "kind", "fault"), ROWS, ids=[f"{'-'.join(row)}-seed_{SEED}" for row in ROWS]
)
async def test_a_fault_at_a_point_breaks_no_promise(
    seat: str,
    point: CrashPoint,
    kind: str,
    fault: str,
    mortal: tuple[EmbeddedServer, DatabaseServer],
) -> None:
    embedded, server = mortal
    role, _, broker = seat.partition("_")
    is_database = KINDS[kind]["effect"] is Effect.DATABASE
    is_ambiguous, order = kind in AMBIGUOUS, KINDS[kind].get("order")
    # a stalled life goes on with its run, since in its own time its lease is a moment old
    order_is_seen = not is_database and order is not None and point is not CrashPoint.LEASE_LOST
    with server.database(outbox.migrations) as dsn:
        set_up(dsn, kind)
        proxy, receiver = FaultProxy(dsn), Receiver()
        address = BrokerAddress.of(broker_url(broker))
        async with proxy.listening(), receiver.listening(), proxied(address) as road:
            crew = _Crew(Seat(dsn, kind, receiver.port, timedelta(0), broker_url=address.url))
            try:
                chosen = {"dsn": proxy.through} if fault.startswith("cut") else {}
                if point is CrashPoint.BROKER_LOST:
                    chosen["broker_url"] = road.address.url
                plan = Plan(point, nth=1, dies=fault == "killed")
                async with crew.pair(Role(role), plan, **chosen) as lives:
                    life = lives[Role(role)]
                    if point is CrashPoint.BROKER_LOST:
                        await road.cut()
                    publish(dsn)
                    words = []
                    while "reached" not in words and (word := await life.word()) is not None:
                        words.append(word)
                        if word == "stalled":
                            await crew.drain()
                        elif fault == "server_killed":
                            await asyncio.to_thread(embedded.crash)
                            await asyncio.to_thread(embedded.restart)
                        else:
                            proxy.arm(Cut(fault.removeprefix("cut_")))
                        if point is CrashPoint.BROKER_LOST:
                            await road.listen()
                        life.go_on()
                    if fault.startswith("cut"):
                        async with asyncio.timeout(DRAIN_SECONDS):
                            await proxy.taken.wait()
                await crew.drain()
            finally:
                await crew.clear(address)

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
        survived = dict.fromkeys(lives, 0)
        assert crew.codes == survived | ({Role(role): -9} if fault == "killed" else {})
        assert fault == "killed" or "reached" in words
        assert proxy.cuts == fault.startswith("cut")
        assert broken == []


@dataclass
class _Crew:
    """A relay and a worker, life after life, each pair ahead of the one before."""

    seat: Seat
    count: int = 0
    codes: dict[Role, int | None] = field(default_factory=dict)
    """How the first pair ended."""

    @asynccontextmanager
    async def pair(
        self, planned: Role | None = None, plan: Plan | None = None, **chosen: Any
    ) -> AsyncIterator[dict[Role, Life]]:
        """Both at work; `planned` meets `plan`, with `chosen` addresses. Told to end on leaving."""
        seat = replace(self.seat, ahead=self.count * AHEAD)
        self.count += 1
        lives: dict[Role, Life] = {}
        for role in (Role.WORKER, Role.RELAY):
            mine = (
                replace(seat, role=role, **chosen) if role is planned else replace(seat, role=role)
            )
            lives[role] = Life(mine, plan if role is planned else None)
        first = self.count == 1
        for life in lives.values():
            assert await life.word() == READY
        try:
            yield lives
        finally:
            for life in lives.values():
                life.stop()
            codes = {role: await life.end() for role, life in lives.items()}
            if first:
                self.codes = codes
            else:
                assert set(codes.values()) == {0}

    async def drain(self) -> None:
        """Live until nothing waits any more."""
        for _ in range(LIVES_MAX):
            if self._is_done():
                return
            async with self.pair():
                with suppress(TimeoutError):
                    await until(self._is_done, DRAIN_SECONDS)
        assert self._is_done()

    async def clear(self, address: BrokerAddress) -> None:
        """The queues belong to a database that is about to go."""
        app = application(self.seat.kind, self.seat.port, timedelta(0))
        taken, _ = taken_of(app.handlers[self.seat.kind], await identity_of(self.seat.dsn))
        await asyncio.to_thread(forget, address, [taken.queue])

    def _is_done(self) -> bool:
        with psycopg.connect(self.seat.dsn) as conn:
            return conn.execute(f"select 1 from {LEFT}").fetchone() is None
