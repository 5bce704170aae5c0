"""A worker's lane: tickets that wait are exchanged together as slots become free, and then run.

What is done under a lease is a relay's inline work, the same batches and settlements.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from outbox import queries_tickets
from outbox.crash_points import CrashPoint, reach
from outbox.handler import Order
from outbox.idling import FAST_POLL_SECONDS, POLL_SECONDS
from outbox.lane import Lane
from outbox.leased import LeasedBatch
from outbox.relay import ERROR_WAIT_SECONDS
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from outbox.held import HeldBatch
    from outbox.queries import Claimed

log = structlog.get_logger("outbox")

DATABASE_TICKETS = 2
"""Tickets of one DATABASE handler at work at once in one process."""


class Waiting(NamedTuple):
    """A ticket that came and is not yet exchanged; `over` ends when the broker may forget it."""

    ticket: UUID
    ids: list[int]
    over: asyncio.Future[None]


@dataclass(slots=True)
class WorkLane(Lane):
    """The lane of one handler in a worker: what it works on comes by tickets."""

    stop: asyncio.Event = field(kw_only=True)
    _inbox: deque[Waiting] = field(default_factory=deque)
    _exchanging: asyncio.Task[None] | None = None
    _running: dict[asyncio.Task[None], LeasedBatch] = field(default_factory=dict)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_flight(self) -> int:
        """Deliveries that came by tickets and take a slot."""
        return sum(batch.in_flight for batch in list(self._running.values()))

    @property
    def waiting(self) -> int:
        """Tickets that came and are not yet exchanged."""
        return len(self._inbox)

    async def work(self, ticket: UUID, ids: Sequence[int]) -> None:
        """Have a ticket exchanged when there is room for it; from then on a lease stands for it.

        Where it is gone there is nothing to do, and where it is time to stop it goes back.
        """
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.append(Waiting(ticket, list(ids), over))
        if self._exchanging is None:
            self._exchanging = asyncio.create_task(self._exchange_all())
        await over

    async def finish(self) -> None:
        """Wait for the end of what is being worked on."""
        while self._running:
            await asyncio.wait(list(self._running))

    def room(self, running: Collection[LeasedBatch | HeldBatch]) -> int:
        """How many deliveries may be taken over now, as in a relay."""
        if self.calls_out:
            return Lane.room(self, running)
        return self.handler.batch_max if len(running) < DATABASE_TICKETS else 0

    async def _exchange_all(self) -> None:
        """As long as tickets wait: exchange as many at once as there is room for."""
        try:
            while self._inbox:
                room = await self._has_room()
                tickets = self._next(room)
                try:
                    ids = [one for waiting in tickets for one in waiting.ids]
                    if room and await self._rate_allows(len(ids)):
                        await self._start([one.ticket for one in tickets], ids)
                    else:
                        await self._hand_back([one.ticket for one in tickets], ids)
                except Exception as error:  # noqa: BLE001 - leases run out; the others go on
                    log.error(  # noqa: TRY400 - a foreign error's text quotes values
                        "worker.ticket_failed", handler=self.handler.name, **facts_of(error)
                    )
                finally:
                    for one in tickets:
                        one.over.set_result(None)
        finally:
            self._exchanging = None

    async def _has_room(self) -> int:
        """Wait until the first ticket fits; 0 if it is time to stop.

        One that is larger than all slots, of a worker with more, goes when nothing else runs.
        """
        while not self.stop.is_set():
            self._freed.clear()
            room, wanted = self.room(self._running.values()), len(self._inbox[0].ids)
            if room >= wanted or not self._running:
                return max(room, wanted)
            await first_of(self.stop, self._freed)
        return 0

    def _next(self, room: int) -> list[Waiting]:
        """The tickets that wait and fit; one at least, and of a rate no more than its burst."""
        if self.handler.rate is not None:
            room = min(room, self.handler.rate.burst)
        found = [self._inbox.popleft()]
        taken = len(found[0].ids)
        while self._inbox and taken + len(self._inbox[0].ids) <= room:
            found.append(self._inbox.popleft())
            taken += len(found[-1].ids)
        return found

    async def _rate_allows(self, calls: int) -> bool:
        """Wait, before the exchange, until the rate allows `calls`; False if it is time to stop.

        Tickets wait at no cost, and no lease runs meanwhile.
        """
        rate = self.handler.rate
        if rate is not None:
            at_once = min(calls, rate.burst)
            while self.pace.allowed(at_once) < at_once:
                wait = max(self.pace.wait().total_seconds(), FAST_POLL_SECONDS)
                await first_of(self.stop, seconds=min(wait, POLL_SECONDS))
                if self.stop.is_set():
                    return False
            self.pace.spend(calls)
        return True

    async def _hand_back(self, tickets: Sequence[UUID], ids: Sequence[int]) -> None:
        """Free what another worker may take at once; where that fails, tickets are sent again."""
        try:
            async with self.pool.connection() as conn, conn.transaction():
                await queries_tickets.take_back_tickets(conn, tickets=tickets, ids=ids)
        except (psycopg.OperationalError, PoolTimeout, OSError) as error:
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "worker.database_failed", handler=self.handler.name, **facts_of(error)
            )

    async def _start(self, tickets: Sequence[UUID], ids: Sequence[int]) -> None:
        """Exchange, and begin to run what is under the tickets."""
        await self.gate.enter()  # before the exchange: no lease runs out at the gate
        batch = None
        try:
            starts_by, rows = await self._exchange(tickets, ids)
            self.pace.spend(len(rows) - len(ids))  # what is not under them any more is not called
            if rows:
                batch = LeasedBatch(self, rows, starts_by, freed=self._freed.set)
                task = asyncio.create_task(self._run(batch))
                self._running[task] = batch
                task.add_done_callback(self._ended)
        finally:
            if batch is None:
                await self.gate.leave()

    async def _run(self, batch: LeasedBatch) -> None:
        """Run a batch whose place at the gate is taken."""
        try:
            await batch.run()
        except Exception as error:  # noqa: BLE001 - its leases run out; the others go on
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "worker.ticket_failed", handler=self.handler.name, **facts_of(error)
            )
        finally:
            await self.gate.leave()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._freed.set()

    async def _exchange(
        self, tickets: Sequence[UUID], ids: Sequence[int]
    ) -> tuple[float, list[Claimed]]:
        """The first statement; tickets that meet no database wait for it."""
        while True:
            try:
                return self.starts_by(), await self.exchange(tickets, ids)
            except (psycopg.OperationalError, PoolTimeout, OSError) as error:
                log.error(  # noqa: TRY400 - as above
                    "worker.database_failed", handler=self.handler.name, **facts_of(error)
                )
                await first_of(self.stop, seconds=ERROR_WAIT_SECONDS)
                if self.stop.is_set():
                    raise

    async def exchange(self, tickets: Sequence[UUID], ids: Sequence[int]) -> list[Claimed]:
        """Take over what is under tickets under one lease; free what may not be tried."""
        terms, rows = self.claims.terms(len(ids)), []
        async with self.pool.connection() as conn, conn.transaction():
            if self.handler.order is Order.NEWEST:
                keys = await queries_tickets.exchange_keys(conn, terms, tickets=tickets, ids=ids)
                rows = await self.claims.lease(conn, terms, keys, 1) if keys else []
            if len(rows) < len(ids):
                rows += await queries_tickets.exchange_tickets(
                    conn, terms, tickets=tickets, ids=ids
                )
            if len(rows) < len(ids):
                await queries_tickets.take_back_tickets(conn, tickets=tickets, ids=ids)
            reach(CrashPoint.BEFORE_CLAIM_COMMIT, self.handler.name)
        if rows:
            reach(CrashPoint.AFTER_CLAIM, self.handler.name)
        return rows


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until one of the events is set, or for a while."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
