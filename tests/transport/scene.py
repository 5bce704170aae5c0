"""A relay that sends tickets, and workers, in steps: the broker is a shelf that the test clears."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from outbox import Publication, Relay, queries_tickets
from outbox.gate import ProcessGate
from outbox.publication import batches_of
from outbox.queries_publish import PUBLISH_MESSAGES, execute_async
from outbox.testing.harness import NoJitter
from outbox.transport.tickets import Tickets
from outbox.transport.work import WorkLane
from outbox.transport.worker import taken_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta

    from outbox import App, Message, VirtualClock
    from outbox.queries_tickets import Ticket


@dataclass
class Shelf:
    """Where tickets lie until the test takes them; `away` while it takes none."""

    tickets: list[Ticket] = field(default_factory=list)
    away: bool = False
    may_send: bool = True

    @property
    def trouble(self) -> str | None:
        return "the shelf is away" if self.away else None

    async def open(self) -> None:
        """Nothing to connect."""

    async def send(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Keep them, or refuse them."""
        if self.away:
            return list(tickets)
        self.tickets += tickets
        return []

    async def try_again(self) -> None:
        """It is back when the test says so."""

    async def close(self) -> None:
        """Nothing to hang up."""


@dataclass
class Stage:
    """One relay that sends tickets, and a lane of a worker for each of its handlers."""

    relay: Relay
    shelf: Shelf
    clock: VirtualClock
    works: dict[str, WorkLane]

    @property
    def work(self) -> WorkLane:
        """The lane of the only handler's worker."""
        (only,) = self.works.values()
        return only

    async def publish(self, message: Message, **terms: Any) -> None:
        batches = batches_of([Publication(message=message, **terms)], self.clock.sql_now())
        async with self.relay.pool.connection() as conn:
            for params in batches:
                await execute_async(conn, PUBLISH_MESSAGES, params)

    async def beat(self, worker: str = "w1") -> None:
        """A worker with every handler of the application says that it lives."""
        taken = [taken_of(lane.handler, "here")[0] for lane in self.works.values()]
        async with self.relay.pool.connection() as conn:
            await queries_tickets.beat_worker(conn, worker=worker, taken=taken)

    async def lose_worker(self, worker: str = "w1") -> None:
        async with self.relay.pool.connection() as conn:
            await queries_tickets.leave_worker(conn, worker=worker)

    async def send(self) -> list[Ticket]:
        """Let every lane hand over until there is no room or nothing due; the new tickets."""
        before = len(self.shelf.tickets)
        for lane in self.relay.lanes.values():
            while await lane.run_once():
                pass
        return self.shelf.tickets[before:]

    async def look(self) -> list[Ticket]:
        """Let the relay decide about what ran out; what it sent again."""
        before = len(self.shelf.tickets)
        for lane in self.relay.lanes.values():
            await lane.clean_up()
        return self.shelf.tickets[before:]

    async def hand(self, ticket: Ticket) -> None:
        """Bring a ticket to the worker of the only handler, and wait until it is worked off."""
        await self.work.work(ticket.token, ticket.ids)
        await self.work.finish()

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)


@asynccontextmanager
async def staged(app: App, dsn: str, *, beat: bool = True) -> AsyncIterator[Stage]:
    """A stage with one worker that lives, over an application in a time of its own."""
    shelf = Shelf()
    clock: Any = app.clock
    relay = Relay(app, dsn, transport=Tickets(shelf), random=NoJitter())
    async with relay.opened():
        works = {
            name: WorkLane(
                app, handler, relay.pool, "worker:1", ProcessGate(), Random(7),  # noqa: S311
                asyncio.Semaphore(1), stop=asyncio.Event(),
            )
            for name, handler in app.handlers.items()
        }  # fmt: skip
        stage = Stage(relay, shelf, clock, works)
        if beat:
            await stage.beat()
        yield stage


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a state of the database or of the test."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        while not holds():
            turn = asyncio.Event()
            loop.call_later(0.02, turn.set)
            await turn.wait()
