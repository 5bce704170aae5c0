"""Keeping house: every few seconds a relay says that it lives, adopts what was parked, and audits.

A round that took long is not repeated before `LOOK_SHARE` times its duration, but for the beat.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outbox import inspection, queries_cluster
from outbox.claiming import LOOK_SHARE
from outbox.redrive import advance_open
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox.app import App
    from outbox.queries import Conn
    from outbox.vitals import RelayVitals, Vitals

log = structlog.get_logger("outbox")

BEAT_SECONDS = 5.0
"""How often a relay says that it lives, and looks for what waits too long."""

TURN_SECONDS = 1.0
"""How often the event loop shows that it turns."""

DEPTH_SECONDS = 30.0
"""How often deliveries are counted, where somebody reads the metrics."""


class House:
    """The housekeeping of one relay."""

    def __init__(self, app: App, pool: AsyncConnectionPool[Any], vitals: RelayVitals) -> None:
        self._app, self._pool, self._vitals = app, pool, vitals
        self._audit_at = self._depth_at = float("-inf")

    async def keep(self, stop: asyncio.Event, beat: Callable[[Conn], Awaitable[None]]) -> None:
        """Keep house until `stop` is set."""
        turning = asyncio.create_task(keep_turning(self._vitals))
        try:
            while not stop.is_set():
                await self.round(beat)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
        finally:
            turning.cancel()

    async def round(self, beat: Callable[[Conn], Awaitable[None]]) -> None:
        """One round; a database that is away is told, and fails the probe until it is back."""
        try:
            async with self._pool.connection() as conn:
                await beat(conn)
                await self._adopt(conn)
                await self._audit(conn)
                await self._count(conn)
            await self._carry_on_redrives()
        except (psycopg.Error, PoolTimeout) as error:
            self._vitals.database_failed = True
            log.error("relay.database_failed", **facts_of(error))  # noqa: TRY400 - no foreign text
        except Exception as error:  # noqa: BLE001 - deliveries go on; a look too old fails the probe
            log.error("relay.look_failed", **facts_of(error))  # noqa: TRY400 - no foreign text

    async def _adopt(self, conn: Conn) -> None:
        if adopted := await queries_cluster.adopt_unrouted(conn):
            log.info("message.routed_late", count=adopted)

    async def _carry_on_redrives(self) -> None:
        try:
            async with self._pool.connection() as conn:
                await advance_open(conn, self._app)
        except (psycopg.OperationalError, PoolTimeout):
            raise
        except Exception as error:  # noqa: BLE001 - a `record` that refuses; the house is kept
            log.error("redrive.step_failed", **facts_of(error))  # noqa: TRY400 - may quote values

    async def _audit(self, conn: Conn) -> None:
        loop = asyncio.get_running_loop()
        if (began := loop.time()) < self._audit_at:
            return
        await self._vitals.audit.look(conn)
        self._audit_at = loop.time() + LOOK_SHARE * (loop.time() - began) - BEAT_SECONDS
        self._vitals.looked()
        for topic in self._vitals.audit.parked:
            log.warning("message.unrouted", topic=topic.topic, parked=topic.parked)

    async def _count(self, conn: Conn) -> None:
        """Count for the metrics, as far as anybody reads them."""
        if not self._vitals.read:
            return
        states = await inspection.destinations(conn)
        now = self._app.clock.now()
        self._vitals.destinations = {one.handler: one.word(now) for one in states}
        loop = asyncio.get_running_loop()
        if (began := loop.time()) >= self._depth_at:
            self._vitals.depths = await inspection.depths(conn)
            took = loop.time() - began
            self._depth_at = began + max(DEPTH_SECONDS, LOOK_SHARE * took)


async def keep_turning(vitals: Vitals) -> None:
    """Show for ever that the event loop turns."""
    while True:
        vitals.turn()
        await asyncio.sleep(TURN_SECONDS)
