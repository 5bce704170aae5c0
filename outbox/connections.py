"""Who of one process may have a connection, so that no lane is left without one (P8).

Short statements (claims, settlements, housekeeping) take whatever is free and give it back at once.
What runs somebody else's code inside a transaction may take long: it needs a place first. Each lane
has one place of its own, some are for whoever comes first, and there are fewer places than
connections, so that a handler that hangs keeps neither another's work nor a short statement.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from outbox.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg_pool import AsyncConnectionPool

    from outbox.queries import Conn

RESERVED = 4
"""Connections of a process that only short statements may use."""

SHARED_PER_LANE, SHARED_MAX = 4, 12
"""How many more a lane may have than its own, and how many all of them together."""


def connections_for(lanes: int, asked: int | None) -> tuple[int, int]:
    """How many connections a process has, and how many of its places are shared.

    Raises `UsageError` if `asked` leaves a lane without a place.
    """
    shared = min(SHARED_PER_LANE * lanes, SHARED_MAX)
    if asked is None:
        return lanes + shared + RESERVED, shared
    least = lanes + 2
    if asked < least:
        raise UsageError(
            f"connections_max is {asked}, but {lanes} handlers need at least {least}: "
            "one each and two for the relay; raise it or run fewer handlers (`only`)"
        )
    return asked, max(min(asked - lanes - RESERVED, shared), 0)


class Places:
    """The places of one lane: its own, and what is free of those that all lanes share."""

    def __init__(self, pool: AsyncConnectionPool[Any], shared: asyncio.Semaphore) -> None:
        self._pool, self._shared = pool, shared
        self._own = asyncio.Semaphore(1)

    @property
    def free(self) -> bool:
        """Whether there is one now."""
        return not (self._own.locked() and self._shared.locked())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        """A connection for work that may take long."""
        place = await self._take()
        try:
            async with self._pool.connection() as conn:
                yield conn
        finally:
            place.release()

    async def _take(self) -> asyncio.Semaphore:
        """Take a place: the lane's own if it is free, else whichever becomes free first."""
        for place in (self._own, self._shared):
            if not place.locked():
                await place.acquire()  # at once
                return place
        waits = {asyncio.create_task(one.acquire()): one for one in (self._own, self._shared)}
        taken: asyncio.Semaphore | None = None
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            taken = next(place for wait, place in waits.items() if wait.done())
            return taken
        finally:
            for wait, place in waits.items():
                if not wait.cancel() and place is not taken:  # it got one as well
                    place.release()
