"""P8, with relays in processes of their own: destinations in trouble keep nobody else waiting."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from outbox import Publication, publish_many
from outbox.queries_cluster import register
from tests.races.isolated import CONCURRENCY, Ordered, application

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
RELAYS, MESSAGES = 2, 150


@dataclass
class Receiver:
    """Answers `healthy` at once and `throttled` with a wait; `hanging` when it is told to end."""

    arrived: Counter[str] = field(default_factory=Counter)
    served: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        self.arrived[name] += 1
        if self.arrived["healthy"] >= MESSAGES and self.arrived["hanging"] == CONCURRENCY * RELAYS:
            self.served.set()
        if name == "hanging":
            await self.end.wait()
        writer.write(b"429 5\n" if name == "throttled" else b"200\n")
        writer.close()


async def test_destinations_in_trouble_keep_no_other_waiting(server: Server) -> None:
    """The healthy one is served to the end while every call of the hanging one is still out."""
    with server.fresh(migrated=True) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        receiver = Receiver()
        async with await asyncio.start_server(receiver.take, "127.0.0.1", 0) as listening:
            async with await psycopg.AsyncConnection.connect(dsn) as setting_up:
                await register(setting_up, application(0))
            conn.execute("update outbox.destination set paused_at = now() where handler = 'paused'")
            publish = [Publication(message=Ordered(number=number)) for number in range(MESSAGES)]
            with conn.transaction():
                publish_many(conn, publish)
            port = str(listening.sockets[0].getsockname()[1])
            command = [sys.executable, "-m", "tests.races.isolated", dsn, port]
            relays = [
                await asyncio.create_subprocess_exec(
                    *command, cwd=ROOT, stdout=PIPE, stderr=DEVNULL
                )
                for _ in range(RELAYS)
            ]
            try:
                async with asyncio.timeout(60):
                    await receiver.served.wait()
                left = conn.execute(
                    "select handler, count(*), sum(attempts) from outbox.delivery"
                    " where handler <> 'healthy' group by handler order by handler"
                ).fetchall()
                spent = conn.execute(
                    "select distinct handler from outbox.receipt where handler <> 'healthy'"
                ).fetchall()
            finally:
                receiver.end.set()
                for relay in relays:
                    relay.terminate()
                for relay in relays:
                    await relay.communicate()

    assert receiver.arrived["healthy"] == MESSAGES
    assert receiver.arrived["throttled"] >= 1
    assert receiver.arrived["paused"] == 0
    assert left == [(name, MESSAGES, 0) for name in ("hanging", "paused", "throttled")]
    assert spent == []
    assert [relay.returncode for relay in relays] == [0] * RELAYS
