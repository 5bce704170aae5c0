"""A TCP proxy in front of a broker, to be cut."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outbox.transport.brokers import BrokerAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PORTS = {"amqp": 5672, "redis": 6379}


@dataclass
class Proxy:
    """Passes bytes on until it is cut; `address` leads through it."""

    host: str
    port: int
    url: str
    own_port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> BrokerAddress:
        parts = urlsplit(self.url)
        credentials = f"{parts.username}:{parts.password}@" if parts.username else ""
        return BrokerAddress.of(
            parts._replace(netloc=f"{credentials}127.0.0.1:{self.own_port}").geturl()
        )

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.own_port)
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection in the middle of whatever it says, and take no other."""
        assert self._server is not None, "it listens first"
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there_reader, there = await asyncio.open_connection(self.host, self.port)
            if self._server is None or not self._server.is_serving():  # cut meanwhile
                writer.transport.abort()
                there.transport.abort()
                return
            self._writers |= {writer, there}
            await asyncio.gather(self._pump(reader, there), self._pump(there_reader, writer))
            self._writers -= {writer, there}

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(address: BrokerAddress) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker at `address`."""
    parts = urlsplit(address.url)
    assert parts.hostname is not None, "an address has a host"
    proxy = Proxy(parts.hostname, parts.port or _PORTS[parts.scheme], address.url)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.cut()
