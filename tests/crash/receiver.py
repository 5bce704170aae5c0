"""Somebody outside, on the loopback, who counts what arrives per handler and delivery."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass
class Receiver:
    """Takes a line `handler delivery_id`, counts it, and answers a moment later.

    `came` are the delivery ids of each handler in the order of their calls, repeats among them.
    `answers` may say `busy`, which is a refusal and counts nothing; an empty answer hangs up.
    """

    arrived: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    came: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    seen: int = 0
    total: int = 0
    alarm_at: int = 0
    alarm: asyncio.Event = field(default_factory=asyncio.Event)
    answer_seconds: float = 0.002
    answers: Callable[[], str] = lambda: "taken"
    port: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count the call when it has arrived; answer a moment later."""
        try:
            handler, delivery_id = (await reader.readline()).decode().split()
            says = self.answers()
            self.seen += 1
            if says != "busy":
                self.arrived[handler][int(delivery_id)] += 1
                self.came[handler].append(int(delivery_id))
                self.total += 1
            if self.total >= self.alarm_at:
                self.alarm.set()
            answer = asyncio.Event()
            asyncio.get_running_loop().call_later(self.answer_seconds, answer.set)
            await answer.wait()
            if says:
                writer.write(f"{says}\n".encode())
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the caller was killed
        finally:
            writer.close()

    async def at(self, total: int) -> None:
        """Wait until so many calls have arrived in all."""
        self.alarm_at = total
        self.alarm.clear()
        if self.total < total:
            async with asyncio.timeout(60):
                await self.alarm.wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        """Listen on a free port."""
        server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
