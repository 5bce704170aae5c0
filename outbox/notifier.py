"""The bell wakes a relay that sleeps. A ring is a hint and may be lost; the poll is sure."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

log = structlog.get_logger("outbox")

CHANNEL_LISTEN = "listen outbox"
RECONNECT_SECONDS = 5.0


class Notifier:
    """Listens on one connection of its own and tells every waiting lane."""

    def __init__(self, dsn: str | None) -> None:
        self._dsn = dsn
        self._rung = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop`; without a connection everything goes on by polling alone."""
        if self._dsn is None:
            await stop.wait()
            return
        while not stop.is_set():
            try:
                await self._listen(stop)
            except psycopg.OperationalError as error:
                log.warning(
                    "bell.deaf",
                    error_type=type(error).__name__,
                    advice="polling goes on; retrying the connection",
                )
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), RECONNECT_SECONDS)

    async def wait(self, seconds: float) -> None:
        """Return when the bell rings, or after `seconds`."""
        rung = self._rung
        with suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), seconds)

    def ring(self) -> None:
        """Wake everybody who waits now."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def _listen(self, stop: asyncio.Event) -> None:
        conn: AsyncConnection[Any]
        async with await AsyncConnection.connect(self._dsn or "", autocommit=True) as conn:
            await conn.execute(CHANNEL_LISTEN)
            while not stop.is_set():
                async for _ in conn.notifies(timeout=1.0, stop_after=1):
                    self.ring()
