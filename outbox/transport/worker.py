"""A worker: exchanges tickets for leases of its own and runs handlers, in one process.

What is done under a lease is a relay's inline work, the same lanes and settlements. Suspects, that
is what a worker had taken when it died, are claimed alone by workers from the database: no ticket
is needed for what must run with nothing beside it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outbox import queries_cluster, queries_tickets
from outbox.claiming import LOOK_SECONDS
from outbox.collector import calm_collector
from outbox.connections import connections_for
from outbox.doors import Doors
from outbox.dsn import for_relay, libpq_dsn
from outbox.gate import ProcessGate
from outbox.handler import LEASE_MARGIN, Effect
from outbox.house import BEAT_SECONDS, keep_turning
from outbox.lane import read_by
from outbox.meter import Meter
from outbox.probing import run_probe
from outbox.queries_tickets import Taken
from outbox.readiness import require_schema
from outbox.relay import relay_name
from outbox.settlement import facts_of
from outbox.tracing import find_spans
from outbox.transport.consuming import TicketConsumer
from outbox.transport.work import DATABASE_TICKETS, WorkLane, first_of
from outbox.vitals import WorkerVitals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from outbox.app import App
    from outbox.handler import Handler
    from outbox.transport.brokers import BrokerAddress

log = structlog.get_logger("outbox")

TICKETS_AT_ONCE = 3
"""About so many tickets a handler's concurrency is divided into, where it is large enough."""

WAITING_MAX = 16
"""The most tickets of a handler that one process takes from its queue before an exchange."""


class Worker:
    """Takes the tickets of an application's handlers (all of them, or those in `only`)."""

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        app: App,
        dsn: str,
        address: BrokerAddress,
        *,
        only: Collection[str] | None = None,
        random: Random | None = None,
        connections_max: int | None = None,
        pooled: bool = False,
    ) -> None:
        """`pooled`: the address leads through a transaction pooler."""
        self._app, self.dsn, self._address = app, libpq_dsn(dsn), address
        self.name = relay_name()
        handlers = [
            handler for name, handler in app.handlers.items() if only is None or name in only
        ]
        size, places = connections_for(len(handlers), connections_max)
        lease_max = max((handler.lease for handler in handlers), default=LEASE_MARGIN)
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            self.dsn if pooled else for_relay(self.dsn, lease_max), min_size=1, max_size=size,
            open=False, timeout=30, name=self.name,
            kwargs={"autocommit": True} | ({"prepare_threshold": None} if pooled else {}),
        )  # fmt: skip
        gate, self._stopping, random = ProcessGate(), asyncio.Event(), random or Random()  # noqa: S311 - jitter
        shared, doors = asyncio.Semaphore(places), Doors(self.pool, app.clock)
        self.lanes = {
            handler.name: WorkLane(
                app, handler, self.pool, self.name, gate, random, shared, doors, stop=self._stopping
            )
            for handler in handlers
        }
        meter = Meter()
        for lane in self.lanes.values():
            lane.settlement.meter = lane.meter = meter
        self.consumers: dict[str, tuple[Taken, TicketConsumer]] = {}
        self.vitals = WorkerVitals(self.name, self._in_flight, meter, connected=self._reads_queues)
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Worker]:
        """Check the schema, open the pool and the application's resources, read the queues."""
        await require_schema(self.dsn)
        async with self.pool, self._app.lifespan():
            spans = find_spans()
            for lane in self.lanes.values():
                lane.consumer = replace(lane.consumer, spans=spans)
            async with self.pool.connection() as conn, conn.transaction():
                await queries_cluster.register(conn, self._app)
            try:
                await self._consume()
                yield self
            finally:
                await self._leave()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what runs is finished, the rest goes back to the broker."""
        log.info("worker.started", worker=self.name, handlers=sorted(self.lanes))
        with calm_collector():
            await self._run(stop)
        log.info("worker.stopped", worker=self.name)

    async def _run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            turning = group.create_task(keep_turning(self.vitals))
            beating = group.create_task(self._beat(stop))
            beating.add_done_callback(lambda _: turning.cancel())
            for lane in self.lanes.values():
                group.create_task(self._keep_house(lane, stop))

    async def _consume(self) -> None:
        async with self.pool.connection() as conn:
            identity = await queries_tickets.identify_database(conn)
        for name, lane in self.lanes.items():
            taken, threads = taken_of(lane.handler, identity)
            consumer = TicketConsumer(
                self._address, taken.queue, threads, work=lane.work, changed=self._changed.set
            )
            self.consumers[name] = (taken, consumer)
            await consumer.start()

    async def _beat(self, stop: asyncio.Event) -> None:
        """Say what is taken, soon after a connection came or went, and every few seconds."""
        told, away = set[str](), set[str]()
        while not stop.is_set():
            self._changed.clear()
            taken = [one for one, consumer in self.consumers.values() if consumer.connected]
            connected = {one.handler for one in taken}
            if lost := sorted(told - connected):  # at the start they connect one by one
                log.error("worker.broker_failed", broker=self._address.where, handlers=lost)
            if back := sorted(away & connected):
                log.info("worker.broker_back", broker=self._address.where, handlers=back)
            told, away = connected, (away | told) - connected
            try:
                async with self.pool.connection() as conn:
                    await queries_tickets.beat_worker(conn, worker=self.name, taken=taken)
                self.vitals.looked()
            except (psycopg.OperationalError, PoolTimeout) as error:
                self.vitals.database_failed = True
                log.error("worker.database_failed", error_type=type(error).__name__)  # noqa: TRY400
            await first_of(stop, self._changed, seconds=BEAT_SECONDS)

    def _in_flight(self) -> dict[str, int]:
        """How many deliveries of each handler are being worked on."""
        return {name: lane.in_flight for name, lane in self.lanes.items()}

    def _reads_queues(self) -> dict[str, bool]:
        """Of each handler, whether its queue is being read."""
        return {
            name: name in self.consumers and self.consumers[name][1].connected
            for name in self.lanes
        }

    @staticmethod
    async def _keep_house(lane: WorkLane, stop: asyncio.Event) -> None:
        """Decide about what ran out and try suspects alone, again and again."""
        while not stop.is_set():
            try:
                await lane.clean_up()
                await run_probe(lane)  # no ticket leads to a destination whose breaker is open
            except Exception as error:  # noqa: BLE001 - the lane goes on
                log.error(  # noqa: TRY400 - a foreign error's text quotes values
                    "worker.lane_failed", handler=lane.handler.name, **facts_of(error)
                )
            await first_of(stop, seconds=LOOK_SECONDS)

    async def _leave(self) -> None:
        """Let relays send no more, finish what runs, hang up."""
        self._stopping.set()
        try:
            async with self.pool.connection(timeout=2) as conn:
                await queries_tickets.leave_worker(conn, worker=self.name)
        except (psycopg.OperationalError, PoolTimeout):
            log.warning("worker.left_unsaid", worker=self.name)
        await asyncio.gather(*(consumer.stop() for _, consumer in self.consumers.values()))
        await asyncio.gather(*(lane.finish() for lane in self.lanes.values()))


def taken_of(handler: Handler, identity: str) -> tuple[Taken, int]:
    """What one worker takes of `handler`, and how many tickets it has in hand before an exchange.

    All workers of one version and database read one queue; another version reads another, so that
    nobody gets what its code cannot read.
    """
    reads = read_by(handler)
    if handler.effect is Effect.DATABASE:
        most, slots = handler.batch_max, handler.batch_max * DATABASE_TICKETS
    else:
        most, slots = max(1, handler.concurrency // TICKETS_AT_ONCE), handler.concurrency
        if handler.rate is not None:  # else its rate could never allow a whole ticket
            most = min(most, handler.rate.burst)
    queue = f"outbox.{_digest(identity)}.{handler.name}.{_digest(*reads)}"
    return Taken(handler.name, queue, reads, most, slots), min(-(-slots // most), WAITING_MAX)


def _digest(*texts: str) -> str:
    return sha256("\n".join(texts).encode()).hexdigest()[:8]
