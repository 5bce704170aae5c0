"""The relay: every handler's lane, in one process, until it is told to stop.

A transport decides what a lane does with what it claims: run it here, or hand it to workers.

At least once: a lease is committed before a delivery is tried, and only its holder may settle. A
crash anywhere costs one lease of delay, never a message. Many relays may run on one database; they
share nothing but SKIP LOCKED.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outbox import queries_cluster, queries_routes
from outbox.asking import ask_due
from outbox.claiming import LOOK_SECONDS
from outbox.collector import calm_collector
from outbox.connections import connections_for
from outbox.consume import is_ours
from outbox.doors import Doors
from outbox.dsn import libpq_dsn, relay_options
from outbox.gate import ProcessGate
from outbox.handler import LEASE_MARGIN
from outbox.house import House
from outbox.idling import FAST_POLL_SECONDS, POLL_SECONDS, Idling
from outbox.meter import Meter
from outbox.notifier import Notifier
from outbox.readiness import check_database
from outbox.redrive import advance_open
from outbox.retention import keep_pruning
from outbox.saga.stored import check_stored
from outbox.self_audit import SelfAudit
from outbox.settlement import facts_of
from outbox.tracing import find_spans
from outbox.transport import INLINE
from outbox.vitals import RelayVitals
from outbox.working_off import all_of, end_all, work_off

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from outbox.app import App
    from outbox.held import HeldBatch
    from outbox.lane import Lane
    from outbox.leased import LeasedBatch
    from outbox.transport import Transport
    from outbox.working_off import Running

log = structlog.get_logger("outbox")

ERROR_WAIT_SECONDS = 1.0
"""How long a lane waits after the database failed it."""


def relay_name() -> str:
    """Host, process and a random part: unique among relays, readable in `outbox explain`."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:6]}"


class Relay:
    """Runs the lanes of an application's handlers (all of them, or those in `only`).

    `wake_ups` False: it never asks publishers to ring, and looks by polling alone.
    What a process had taken when it died is tried here, alone, while nothing else is called;
    `outbox relay` gives it a process of its own.
    """

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        app: App,
        dsn: str,
        *,
        only: Collection[str] | None = None,
        listen_dsn: str | None = None,
        random: Random | None = None,
        connections_max: int | None = None,
        wake_ups: bool = True,
        transport: Transport = INLINE,
    ) -> None:
        self._app, self.dsn, self._transport = app, libpq_dsn(dsn), transport
        self.name = relay_name()
        handlers = [
            handler for name, handler in app.handlers.items() if only is None or name in only
        ]
        size, shared = connections_for(len(handlers), connections_max)
        self._lease_max = max((handler.lease for handler in handlers), default=LEASE_MARGIN)
        self._sessions: dict[str, Any] = {"autocommit": True}
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            self.dsn,
            min_size=1,
            max_size=size,
            open=False,
            timeout=30,
            kwargs=self._sessions,  # what a session may have is known once the database was asked
            name=self.name,
        )
        gate, doors = ProcessGate(), Doors(self.pool, app.clock)
        self._gate, places = gate, asyncio.Semaphore(shared)
        self._listen_dsn = None if listen_dsn is None else libpq_dsn(listen_dsn)
        self._wake_ups = wake_ups
        self._notifier = Notifier(self._listen_dsn)
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        meter = Meter()
        self.lanes = {
            handler.name: transport.lane(
                self._app, handler, self.pool, self.name, gate, self._random, places, doors
            )
            for handler in handlers
        }
        for lane in self.lanes.values():
            lane.settlement.meter = lane.meter = meter
        self._running: dict[str, Running] = {}
        self.vitals = RelayVitals(
            self.name, self._in_flight, meter,
            audit=SelfAudit(app, frozenset(self.lanes)), listening=self._hears,
            trouble=lambda: transport.trouble, hands_over=transport.hands_over,
        )  # fmt: skip
        self._idling = Idling()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Relay]:
        """Check the schema, open the pool and what the transport needs, add missing routes."""
        self._suit(pooled=await check_database(self.dsn) or self._listen_dsn is not None)
        async with self.pool, self._transport.opened(self._app):
            spans = find_spans()  # once: a provider is set at the start or in the lifespan
            for lane in self.lanes.values():
                lane.consumer = replace(lane.consumer, spans=spans)
            async with self.pool.connection() as conn, conn.transaction():
                await queries_cluster.register(conn, self._app)
                await self._name_strangers(conn)
                await check_stored(conn, self._app.sagas)
            try:
                yield self
            finally:
                await self._leave()

    async def _name_strangers(self, conn: Any) -> None:
        """Say which handlers nobody has any more, though something waits for them or is routed."""
        for one in await queries_routes.find_strangers(
            conn, handlers=list(self._app.handlers), application=self._app.name
        ):
            log.warning(
                "handler.unknown", handler=one.handler, waiting=one.waiting, topics=one.topics,
                hint="was it renamed? `outbox route list` shows it, `outbox route drop` ends it",
            )  # fmt: skip

    def _suit(self, *, pooled: bool) -> None:
        """Choose what sessions have: behind a pooler nothing that outlives a transaction.

        Options belong to a session, and so do statements prepared by name and LISTEN: the next
        transaction may be served by another. An address for LISTEN of its own also means a pooler.
        """
        if pooled:
            self._sessions["prepare_threshold"] = None
            self._notifier.listen_on(self._listen_dsn if self._wake_ups else None)
        else:
            self._sessions["options"] = relay_options(self.dsn, self._lease_max)
            self._notifier.listen_on(self.dsn if self._wake_ups else None)
        if not self._notifier.hears:
            why = "a pooler without DATABASE_LISTEN_URL" if self._wake_ups else "told to"
            log.info("relay.polls", why=why, relay=self.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; what runs is finished, what is only leased is given back."""
        log.info("relay.started", relay=self.name, handlers=sorted(self.lanes))
        with calm_collector():
            await self._run(stop)
        log.info("relay.stopped", relay=self.name)

    async def _run(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._notifier.run(stop))
                group.create_task(House(self._app, self.pool, self.vitals).keep(stop, self._beat))
                group.create_task(keep_pruning(self._app, self.dsn, stop, self._random))
                group.create_task(self._wake_at(stop))
                for lane in self.lanes.values():
                    group.create_task(self._run_lane(lane, stop))
                    if lane.handler.probe is not None:
                        group.create_task(self._ask(lane, stop))
        finally:  # cancelled, or a part of it failed: no call outlives what it stands on
            await end_all([task for running in self._running.values() for task in running])

    async def drain(self, stop: asyncio.Event | None = None, *, overlapping: bool = False) -> int:
        """Work until nothing is due any more, or `stop` is set; how many deliveries were tried.

        A handler's batches follow each other, so that a test is told the same each time;
        `overlapping` as the daemon does it, so that no slot waits for a settlement.
        """
        tried = 0
        stop = stop or asyncio.Event()
        while True:
            async with self.pool.connection() as conn:
                moved = await queries_cluster.adopt_unrouted(conn)
                moved += await advance_open(conn, self._app)
            results = await all_of(
                self._pass(lane, stop, overlapping) for lane in self.lanes.values()
            )
            tried += sum(results)
            if stop.is_set() or not (moved or any(results) or await self._wait_for_rate(stop)):
                return tried

    async def _wait_for_rate(self, stop: asyncio.Event) -> bool:
        """Wait until a rate that was used up allows a call; False if none was, or time stands."""
        waits = [lane.pace.wait() for lane in self.lanes.values() if lane.pace.throttled]
        if not waits or self._app.clock.sql_now() is not None:
            return False
        await self._pause(stop, min(waits).total_seconds())
        return True

    async def _pass(self, lane: Lane, stop: asyncio.Event, overlapping: bool) -> int:  # noqa: FBT001
        lane.claims.look_everywhere()
        tried = await lane.clean_up() + await ask_due(lane)
        if overlapping:
            running = self._running[lane.handler.name] = {}
            return tried + await work_off(lane, running, stop)
        while not stop.is_set() and (moved := await lane.run_once()):
            tried += moved
        return tried

    async def _run_lane(self, lane: Lane, stop: asyncio.Event) -> None:
        awake = self._notifier.subscribe()
        running = self._running[lane.handler.name] = {}
        looked_at = float("-inf")
        while not stop.is_set():
            awake.clear()
            try:
                if (now := asyncio.get_running_loop().time()) - looked_at >= LOOK_SECONDS:
                    looked_at = now
                    lane.claims.look_if_time()
                    await lane.clean_up()
                more = await self._fill(lane, running, awake)
            except (psycopg.OperationalError, PoolTimeout, OSError) as error:
                # nothing to undo: what was leased falls due again by itself
                log.error(  # noqa: TRY400 - as below
                    "relay.database_failed", handler=lane.handler.name, **facts_of(error)
                )
                await self._pause(stop, ERROR_WAIT_SECONDS)
                continue
            except (Exception, asyncio.CancelledError) as error:  # the lane goes on
                if isinstance(error, asyncio.CancelledError) and is_ours(error):
                    raise
                log.error(  # noqa: TRY400 - a foreign error's text quotes values
                    "relay.lane_failed", handler=lane.handler.name, **facts_of(error)
                )
                await self._pause(stop, ERROR_WAIT_SECONDS)
                continue
            if not more:
                await self._idle(lane, awake)
        if running:
            await asyncio.wait(running)

    async def _fill(self, lane: Lane, running: Running, awake: asyncio.Event) -> bool:
        """Claim for free slots and start what was claimed; whether there may be more to claim."""
        for done in [task for task in running if task.done()]:
            del running[done]
        free = lane.room(running.values())
        if not free:
            lane.found_all = False  # who rings now is heard when there is room
            return False
        await self._gate.enter()  # before the claim: no lease runs out at the gate
        batch = None
        try:
            batch = await lane.take(free)
        finally:
            if batch is None:
                await self._gate.leave()
        if batch is None:
            return False
        moved = len(batch.rows)

        def freed() -> None:
            if not (self._told_of_news and lane.found_all):
                awake.set()

        batch.freed = freed
        task = asyncio.create_task(self._run_batch(lane, batch))
        task.add_done_callback(lambda _: freed())
        running[task] = batch
        if self._idling.moved(lane.handler.name, moved, room=free) and self._idling.asleep:
            await self._tell(asleep=False)  # enough comes by itself: nobody need ring
        return moved == free

    async def _run_batch(self, lane: Lane, batch: LeasedBatch | HeldBatch) -> None:
        """Run a batch whose place at the gate is taken; whatever fails, its leases run out."""
        try:
            await batch.run()
        except Exception as error:  # noqa: BLE001 - the lane goes on
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "relay.batch_failed", handler=lane.handler.name, **facts_of(error)
            )
        finally:
            await self._gate.leave()

    async def _idle(self, lane: Lane, awake: asyncio.Event) -> None:
        """Wait for the bell, the end of a batch, or the next look."""
        if not self._idling.asleep and self._idling.is_quiet:
            await self._tell(asleep=True)
            self._idling.fell_asleep()
            return
        wait = self._idling.wait_seconds(lane.handler.name)
        if lane.pace.throttled:
            wait = min(max(lane.pace.wait().total_seconds(), FAST_POLL_SECONDS), POLL_SECONDS)
        elif lane.looks_again_in is not None:
            wait = min(wait, lane.looks_again_in)
        timer = asyncio.get_running_loop().call_later(wait, awake.set)
        await awake.wait()
        timer.cancel()

    async def _tell(self, *, asleep: bool) -> None:
        """Tell publishers whether they are to ring."""
        self._idling.asleep = asleep
        try:
            async with self.pool.connection() as conn:
                await self._beat(conn)
        except (psycopg.OperationalError, PoolTimeout):
            self._idling.asleep = False  # the lanes will say that the database is away

    async def _beat(self, conn: Any) -> None:
        """Say that this relay lives, and whether it wants the bell."""
        await queries_cluster.beat(
            conn, relay=self.name, handlers=list(self.lanes),
            asleep=self._idling.asleep and self._notifier.hears,
            version=self.vitals.version, host_now=datetime.now(UTC),
            throttled=[name for name, lane in self.lanes.items() if lane.pace.throttled],
            hands_over=self._transport.hands_over, trouble=self._transport.trouble,
        )  # fmt: skip

    async def _ask(self, lane: Lane, stop: asyncio.Event) -> None:
        """Ask about unknown outcomes beside the lane's own work, which waits for no answer."""
        while not stop.is_set():
            asked = 0
            try:
                asked = await ask_due(lane)
            except Exception as error:  # noqa: BLE001 - it is asked again; deliveries go on
                log.error(  # noqa: TRY400 - a foreign error's text quotes values
                    "question.look_failed", handler=lane.handler.name, **facts_of(error)
                )
            if not asked:
                await self._pause(stop, LOOK_SECONDS)

    @property
    def _told_of_news(self) -> bool:
        """Whether publishers ring, and it is heard."""
        return self._idling.asleep and self._notifier.listening

    def _hears(self) -> bool | None:
        """Whether the bell is heard; None where nobody rings for this relay."""
        return self._notifier.listening if self._notifier.hears else None

    def _in_flight(self) -> dict[str, int]:
        """How many deliveries of each handler take a slot of this process."""
        return {
            name: sum(batch.in_flight for batch in list(running.values()))
            for name, running in list(self._running.items())
        }

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._notifier.ring()

    async def _leave(self) -> None:
        try:
            async with self.pool.connection(timeout=2) as conn:
                await queries_cluster.leave(conn, relay=self.name)
        except (psycopg.OperationalError, PoolTimeout):
            log.warning("relay.left_unsaid", relay=self.name)

    @staticmethod
    async def _pause(stop: asyncio.Event, seconds: float) -> None:
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return
