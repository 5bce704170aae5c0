"""A state machine for Hypothesis: an application's own handlers, in any order, with crashes.

Subclass `OutboxMachine`, say how to build the application and what is published, add rules and
invariants of your own, and collect `YourMachine.TestCase`. Hypothesis must be installed.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from outbox.crash_points import CrashPoint
from outbox.migrations import ENGINE
from outbox.testing.harness import OutboxHarness

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from outbox.app import App
    from outbox.publication import Publication
    from outbox.testing.databases import DatabaseServer

POINTS = [
    point for point in CrashPoint if point not in {CrashPoint.BROKER_LOST, CrashPoint.LEASE_LOST}
]
DRAINS_MAX = 50
"""So many times everything is tried again, a long wait between, before it counts as stuck."""


class OutboxMachine(RuleBasedStateMachine):
    """Publish, work, crash, lose leases and wait in any order; every delivery stays accounted for.

    Set `server` before it runs (a fixture does). Each example has a database of its own and ends
    with everything drained: then nothing waits, and every delivery is done, dead, superseded or
    held as unknown. `check` is the place to hold the application's own tables to that.
    """

    server: ClassVar[DatabaseServer]

    def application(self) -> App:
        """A fresh application, made with a `VirtualClock`."""
        raise NotImplementedError("your subclass says which application is tried")

    def publications(self) -> st.SearchStrategy[Publication]:
        """What may be published."""
        raise NotImplementedError("your subclass says what may be published")

    async def check(self) -> None:
        """Called when all is drained: raise where the application's own promises do not hold."""

    def __init__(self) -> None:
        """Open nothing yet: Hypothesis makes one more than it runs."""
        super().__init__()
        self._stack, self._runner = AsyncExitStack(), asyncio.Runner()

    @initialize()
    def open_database(self) -> None:
        """An empty database with the application on it."""
        self.app = self.application()
        self.dsn = self._stack.enter_context(self.server.database(ENGINE, *self.app.histories))
        opened = OutboxHarness.opened(self.app, self.dsn)
        self.outbox = self.do(self._stack.enter_async_context(opened))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for the engine: `self.do(self.outbox.census("mailer"))`."""
        return self._runner.run(work)

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Publish one message and commit."""
        self.do(self._publish(data.draw(self.publications())))

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """Let a handler work off one batch."""
        self.do(self.outbox.run_once(self._handler(data)))

    @rule(data=st.data(), point=st.sampled_from(POINTS))
    def work_and_crash(self, data: st.DataObject, point: CrashPoint) -> None:
        """Let a handler work and the process end, if the work comes to a crash point."""
        self.do(self.crash(self._handler(data), point))

    @rule(data=st.data(), limit=st.integers(1, 3))
    def claim_and_die(self, data: st.DataObject, limit: int) -> None:
        """A worker takes deliveries and is never heard of again."""
        self.do(self.outbox.claim(self._handler(data), limit))

    @rule(seconds=st.sampled_from([1, 31, 3_600]))
    def wait(self, seconds: int) -> None:
        """Let time pass: backoffs end, leases run out."""
        self.outbox.advance(timedelta(seconds=seconds))

    @invariant()
    def every_delivery_is_accounted_for(self) -> None:
        """Pending, leased, unknown, dead, done or overtaken; none lost, none twice."""
        if hasattr(self, "outbox"):
            for handler in set(self.app.handlers) - set(self.app.sagas):  # timers have no route
                self.do(self._count(handler))

    def teardown(self) -> None:
        """Drain everything, ask `check`, and drop the database."""
        try:
            if hasattr(self, "outbox"):
                self.do(self._finish())
        finally:
            self.do(self._stack.aclose())
            self._runner.close()

    def _handler(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.app.handlers)))

    async def _publish(self, publication: Publication) -> None:
        await self.outbox.publish_many(publication)

    async def crash(self, handler: str, point: CrashPoint) -> None:
        """Let a handler work off one batch, and end at `point` if the work comes there."""
        async with self.outbox.crash_at(point, handler=handler, always=False):
            await self.outbox.run_once(handler)

    async def _count(self, handler: str) -> None:
        found = await self.outbox.census(handler)
        owed = await self.outbox.owed(handler)
        told = {word: getattr(found, word) for word in STATES}
        assert sum(told.values()) == owed, f"{handler}: {owed} deliveries are owed, and {told}"

    async def _finish(self) -> None:
        for _ in range(DRAINS_MAX):
            await self.outbox.drain()
            left = [await self.outbox.census(handler) for handler in self.app.handlers]
            if not any(one.pending + one.leased for one in left):
                await self.check()
                return
            self.outbox.advance(timedelta(hours=1))
        raise AssertionError(f"still not drained after {DRAINS_MAX} hours")


STATES = ("pending", "leased", "unknown", "dead", "done", "overtaken")
