"""The relay: every handler's lane, in one process, until it is told to stop.

At least once: a lease is committed before a delivery is tried, and only its holder may settle. A
crash anywhere costs one lease of delay, never a message. Many relays may run on one database; they
share nothing but SKIP LOCKED.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outbox import calling, inspection, queries
from outbox.dsn import libpq_dsn, without_jit
from outbox.lane import Lane, ProcessGate
from outbox.notifier import Notifier
from outbox.readiness import require_schema
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from outbox.app import App
    from outbox.queries import Claimed

log = structlog.get_logger("outbox")

POLL_SECONDS = 0.25
"""How long an idle lane waits for the bell before it looks by itself."""

LOOK_SECONDS = 2.0
"""How often a lane looks at what a claim does not see: expired leases, circuits, late commits."""

BEAT_SECONDS = 5.0
"""How often a relay says that it lives."""

ERROR_WAIT_SECONDS = 1.0
"""How long a lane waits after the database failed it."""


def relay_name() -> str:
    """Host, process and a random part: unique among relays, readable in `outbox explain`."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:6]}"


class Relay:
    """Runs the lanes of an application's handlers (all of them, or those in `only`)."""

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        app: App,
        dsn: str,
        *,
        only: Collection[str] | None = None,
        listen_dsn: str | None = None,
        random: Random | None = None,
        connections_max: int | None = None,
    ) -> None:
        self._app, self.dsn = app, libpq_dsn(dsn)
        self.name = relay_name()
        handlers = [
            handler for name, handler in app.handlers.items() if only is None or name in only
        ]
        size = connections_max or min(2 * len(handlers) + 2, 24)
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            # an address for LISTEN of its own means that the other one leads through a pooler
            self.dsn if listen_dsn else without_jit(self.dsn),
            min_size=1,
            max_size=size,
            open=False,
            timeout=30,
            kwargs={"autocommit": True},
            name=self.name,
        )
        self._gate = ProcessGate()
        self._notifier = Notifier(libpq_dsn(listen_dsn or dsn))
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self.lanes = {
            handler.name: Lane(self._app, handler, self.pool, self.name, self._gate, self._random)
            for handler in handlers
        }
        self._busy: set[str] = set()
        self._asleep = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Relay]:
        """Open the pool and the application's resources, check the schema, add missing routes."""
        await require_schema(self.dsn)
        async with self.pool, self._app.lifespan():
            async with self.pool.connection() as conn, conn.transaction():
                await queries.register(conn, list(self._app.handlers), list(self._app.routes()))
            try:
                yield self
            finally:
                await self._leave()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; what runs is finished, what is only leased is given back."""
        log.info("relay.started", relay=self.name, handlers=sorted(self.lanes))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notifier.run(stop))
            group.create_task(self._keep_house(stop))
            for lane in self.lanes.values():
                group.create_task(self._run_lane(lane, stop))
        log.info("relay.stopped", relay=self.name)

    async def drain(self, stop: asyncio.Event | None = None) -> int:
        """Work until nothing is due any more, or `stop` is set; how many deliveries were tried."""
        tried = 0
        stop = stop or asyncio.Event()
        while True:
            async with self.pool.connection() as conn:
                moved = await queries.adopt_unrouted(conn)
            results = await asyncio.gather(
                *(self._pass(lane, stop) for lane in self.lanes.values())
            )
            tried += sum(results)
            if stop.is_set() or not (moved or any(results)):
                return tried

    async def _pass(self, lane: Lane, stop: asyncio.Event) -> int:
        lane.look_everywhere()
        tried = await lane.clean_up()
        while not stop.is_set() and (moved := await lane.run_once()):
            tried += moved
        return tried

    async def _run_lane(self, lane: Lane, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        running: set[asyncio.Task[None]] = set()
        looked_at = float("-inf")
        while not stop.is_set():
            try:
                if loop.time() - looked_at >= LOOK_SECONDS:
                    looked_at = loop.time()
                    lane.look_everywhere()
                    await lane.clean_up()
                moved = await (self._fill(lane, running) if lane.calls_out else lane.run_once())
            except (psycopg.OperationalError, PoolTimeout, OSError) as error:
                # nothing to undo: what was leased falls due again by itself
                log.error(  # noqa: TRY400 - as below
                    "relay.database_failed", handler=lane.handler.name, **facts_of(error)
                )
                await self._pause(stop, ERROR_WAIT_SECONDS)
                continue
            except Exception as error:  # noqa: BLE001 - the lane goes on
                log.error(  # noqa: TRY400 - a foreign error's text quotes values
                    "relay.lane_failed", handler=lane.handler.name, **facts_of(error)
                )
                await self._pause(stop, ERROR_WAIT_SECONDS)
                continue
            await self._idle(lane, running, moved, stop)
        if running:
            await asyncio.wait(running)

    async def _fill(self, lane: Lane, running: set[asyncio.Task[None]]) -> int:
        """Start calls in free slots; a batch of a few at a time, so that statements are shared."""
        running -= {done for done in running if done.done()}
        taken = sum(int(task.get_name()) for task in running)
        free = lane.handler.concurrency - taken
        if free <= 0 or (running and free < (lane.handler.concurrency + 1) // 2):
            return 0
        await self._gate.enter()  # before the claim: no lease runs out at the gate
        starts_by, rows = lane.starts_by(), []
        try:
            rows = await lane.claim(free)
        finally:
            if not rows:
                await self._gate.leave()
        if rows:
            run = self._run_batch(lane, rows, starts_by)
            running.add(asyncio.create_task(run, name=str(len(rows))))
        return len(rows)

    async def _run_batch(self, lane: Lane, rows: list[Claimed], starts_by: float) -> None:
        """Run a batch whose place at the gate is taken; whatever fails, its leases run out."""
        try:
            await calling.run_batch(lane, rows, starts_by=starts_by)
        except Exception as error:  # noqa: BLE001 - the lane goes on
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "relay.batch_failed", handler=lane.handler.name, **facts_of(error)
            )
        finally:
            await self._gate.leave()

    async def _idle(
        self, lane: Lane, running: set[asyncio.Task[None]], moved: int, stop: asyncio.Event
    ) -> None:
        name = lane.handler.name
        if moved:
            self._busy.add(name)
            if not lane.calls_out:
                return
        if running:
            waiter = asyncio.create_task(stop.wait())
            await asyncio.wait(
                {*running, waiter}, return_when=asyncio.FIRST_COMPLETED, timeout=POLL_SECONDS
            )
            waiter.cancel()
            return
        if not moved:
            self._busy.discard(name)
            if not self._busy and not self._asleep:
                await self._raise_flag()
                return  # look once more: what was published before the flag rang no bell
            await self._notifier.wait(POLL_SECONDS)

    async def _raise_flag(self) -> None:
        self._asleep = True
        try:
            async with self.pool.connection() as conn:
                await queries.beat(conn, relay=self.name, handlers=list(self.lanes), asleep=True)
        except (psycopg.OperationalError, PoolTimeout):
            self._asleep = False  # the lanes will say that the database is away

    async def _keep_house(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with self.pool.connection() as conn:
                    await queries.beat(
                        conn, relay=self.name, handlers=list(self.lanes), asleep=not self._busy
                    )
                    self._asleep = not self._busy
                    adopted = await queries.adopt_unrouted(conn)
                    parked = await inspection.unrouted(conn)
                if adopted:
                    log.info("message.routed_late", count=adopted)
                for topic in parked:
                    log.warning("message.unrouted", topic=topic.topic, parked=topic.parked)
            except (psycopg.OperationalError, PoolTimeout) as error:
                log.error("relay.database_failed", error_type=type(error).__name__)  # noqa: TRY400
            await self._pause(stop, BEAT_SECONDS)

    async def _leave(self) -> None:
        try:
            async with self.pool.connection(timeout=2) as conn:
                await queries.leave(conn, relay=self.name)
        except (psycopg.OperationalError, PoolTimeout):
            log.warning("relay.left_unsaid", relay=self.name)

    @staticmethod
    async def _pause(stop: asyncio.Event, seconds: float) -> None:
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return
