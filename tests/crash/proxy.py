"""A TCP proxy before PostgreSQL that can cut a connection in the middle of a commit.

It understands as much of the wire as that takes: where a message ends, which one commits (`COMMIT`,
or the end of a statement outside a transaction), and when the server has answered it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEADER_BYTES = 5
IDLE = b"I"


class Cut(StrEnum):
    """When the connection breaks."""

    BEFORE = "before"
    """The commit never reaches the server: the transaction rolls back."""
    IN_FLIGHT = "in_flight"
    """The commit is sent and nobody waits: whichever comes first."""
    AFTER = "after"
    """The server has committed; its answer never arrives."""


@dataclass
class FaultProxy:
    """Stands between clients and the server at `dsn`; `through` is the address it gives them."""

    dsn: str
    cuts: int = 0
    port: int = 0
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    _armed: Cut | None = None
    _links: set[_Link] = field(default_factory=set)
    _served: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def through(self) -> str:
        """The DSN of the same database by way of the proxy."""
        facts = conninfo_to_dict(self.dsn)
        who = ":".join(
            quote(str(facts[one]), safe="") for one in ("user", "password") if one in facts
        )
        plain = "sslmode=disable&gssencmode=disable"
        return f"postgresql://{who}@127.0.0.1:{self.port}/{facts['dbname']}?{plain}"

    def arm(self, cut: Cut) -> None:
        """Cut the connection that commits next; then `taken` is set."""
        self.taken.clear()
        self._armed = cut

    def disarm(self) -> None:
        """Cut nothing after all."""
        self._armed = None

    def take(self) -> Cut | None:
        """What is armed, which it is no longer."""
        armed, self._armed = self._armed, None
        if armed is not None:
            self.cuts += 1
            self.taken.set()
        return armed

    def cut_all(self) -> int:
        """Break every connection at once; how many there were."""
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FaultProxy]:
        """Serve on a free port of the loopback for as long as the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
        self.cut_all()
        await asyncio.gather(*self._served)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        facts = conninfo_to_dict(self.dsn)
        host, port = str(facts.get("host") or "127.0.0.1"), str(facts.get("port") or 5432)
        try:
            if host.startswith("/"):
                upstream = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                upstream = await asyncio.open_connection(host, int(port))
        except OSError:  # the server is down: so are we
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, *upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


@dataclass(eq=False)
class _Link:
    """One connection of a client and the one to the server that answers it."""

    proxy: FaultProxy
    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    status: bytes = IDLE
    swallows: bool = False

    async def run(self) -> None:
        """Carry both ways until one side is gone."""
        ways = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def abort(self) -> None:
        """Break it, both ways, whatever is under way."""
        self.to_client.transport.abort()
        self.to_server.transport.abort()

    async def _up(self) -> None:
        length = await self.from_client.readexactly(4)  # the start-up message has no type
        rest = await self.from_client.readexactly(int.from_bytes(length, "big") - 4)
        self.to_server.write(length + rest)
        while True:
            message = await _message(self.from_client)
            cut = self.proxy.take() if self._commits(message) else None
            if cut is Cut.BEFORE:
                return
            self.swallows = cut is Cut.AFTER
            self.to_server.write(message)
            await self.to_server.drain()
            if cut is Cut.IN_FLIGHT:
                return

    async def _down(self) -> None:
        while True:
            message = await _message(self.from_server)
            ready = message[:1] == b"Z"
            if ready:
                self.status = message[HEADER_BYTES : HEADER_BYTES + 1]
            if not self.swallows:
                self.to_client.write(message)
                if ready:
                    await self.to_client.drain()
            elif ready:
                return

    def _commits(self, message: bytes) -> bool:
        kind, text = message[:1], message[HEADER_BYTES : HEADER_BYTES + 6].upper()
        if self.status == IDLE:
            return kind == b"S" or (kind == b"Q" and not text.startswith(b"BEGIN"))
        return kind == b"Q" and text.startswith(b"COMMIT")


async def _message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(HEADER_BYTES)
    return header + await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
