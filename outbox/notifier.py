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
        self.listening = False
        """Whether a connection hears the bell now."""
        self._waiting: list[asyncio.Event] = []

    @property
    def hears(self) -> bool:
        """Whether there is anything to listen on; if not, nobody need ring."""
        return self._dsn is not None

    def listen_on(self, dsn: str | None) -> None:
        """Where to listen from the next connection on; None means nowhere."""
        self._dsn = dsn

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

    def subscribe(self) -> asyncio.Event:
        """An event that every ring sets; whoever waits for it clears it before looking."""
        event = asyncio.Event()
        self._waiting.append(event)
        return event

    def ring(self) -> None:
        """Wake everybody."""
        for event in self._waiting:
            event.set()

    async def _listen(self, stop: asyncio.Event) -> None:
        """Ring for what arrives, straight from the socket."""
        loop = asyncio.get_running_loop()
        conn: AsyncConnection[Any]
        async with await AsyncConnection.connect(self._dsn or "", autocommit=True) as conn:
            await conn.execute(CHANNEL_LISTEN)
            ended, socket = asyncio.Event(), conn.fileno()

            def hear() -> None:
                try:
                    conn.pgconn.consume_input()
                except psycopg.OperationalError:  # the server has gone
                    loop.remove_reader(socket)
                    ended.set()
                    return
                if conn.pgconn.notifies() is not None:
                    while conn.pgconn.notifies() is not None:
                        pass  # one ring for all that came at once
                    self.ring()

            loop.add_reader(socket, hear)
            self.listening = True
            try:
                await _first(stop, ended)
            finally:
                self.listening = False
                loop.remove_reader(socket)
            if ended.is_set():
                problem = "the connection that listens was closed"
                raise psycopg.OperationalError(problem)


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
