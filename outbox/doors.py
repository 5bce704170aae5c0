"""Which destinations may be called now, as the database said a moment ago (P7).

A claim asks by itself. What was claimed and has not begun asks again when its claim is old: a hold,
a pause or an open breaker of another process is obeyed within a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from outbox import queries_cluster

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from outbox.clock import Clock

FRESH_SECONDS = 0.5
"""How long what the database said is believed."""


class Doors:
    """Asked by all lanes of a process, which look into the database together."""

    def __init__(self, pool: AsyncConnectionPool[Any], clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self._open: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def is_open(self, handler: str, *, after: float) -> bool:
        """Whether calls of `handler` may begin, by a look later than the loop's time `after`.

        Where the database is away, the lease alone decides.
        """
        if not self._knows(after):
            async with self._looking:  # only who must look stands in line for it
                if not self._knows(after) and not await self._look():
                    return True
        return handler in self._open

    def _knows(self, after: float) -> bool:
        age = asyncio.get_running_loop().time() - self._looked_at
        return age < FRESH_SECONDS and self._looked_at > after

    async def _look(self) -> bool:
        began = asyncio.get_running_loop().time()
        try:
            async with self._pool.connection() as conn:
                self._open = await queries_cluster.open_destinations(
                    conn, now=self._clock.sql_now()
                )
        except (psycopg.OperationalError, PoolTimeout):
            return False
        self._looked_at = began
        return True
