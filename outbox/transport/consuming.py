"""One handler's queue, read by threads of dramatiq's; what arrives is worked on in our loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from dramatiq import Actor, Worker

from outbox.transport.brokers import ACTOR, Wrapped, open_broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dramatiq import Broker
    from dramatiq.broker import Consumer

    from outbox.transport.brokers import BrokerAddress

log = structlog.get_logger("outbox")

LOOK_MS = 200
"""How long a thread with nothing to do waits before it looks whether it is to stop."""


class TicketConsumer:
    """Reads one queue. `work` is awaited in the loop for each ticket, at most `threads` at once.

    `changed` is called, in the loop, when the connection was made or lost. Each has a broker and
    threads of its own, so that one handler's tickets keep nobody else's from being read (P8).
    """

    def __init__(
        self,
        address: BrokerAddress,
        queue: str,
        threads: int,
        *,
        work: Callable[[UUID, list[int]], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._address, self._queue, self._threads = address, queue, threads
        self._work, self._changed = work, changed
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connected = False

    async def start(self) -> None:
        """Connect and begin to read. Raises `BrokerUnreachable`."""
        self._loop = asyncio.get_running_loop()
        broker = await asyncio.to_thread(open_broker, self._address)
        _watch(broker, self._told)
        Actor(
            self._receive, broker=broker, actor_name=ACTOR, queue_name=self._queue, priority=0,
            options={},
        )  # fmt: skip
        self._worker = Worker(
            broker, queues={self._queue}, worker_timeout=LOOK_MS, worker_threads=self._threads
        )
        self._worker.queue_prefetch = self._threads  # the rest stays for others to take
        self._worker.start()

    async def stop(self) -> None:
        """Finish what is being worked on; the broker gives the rest to others."""
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)
            await asyncio.to_thread(self._worker.broker.close)

    def _receive(self, *sent: Any) -> None:
        """In a thread: bring a ticket to the loop and wait until it has been worked on."""
        assert self._loop is not None, "it is started first"
        try:
            token, ids = sent
            ticket, wanted = UUID(token), [int(one) for one in ids]
        except (ValueError, TypeError):
            log.warning("ticket.unreadable", queue=self._queue)
            return
        asyncio.run_coroutine_threadsafe(self._await(ticket, wanted), self._loop).result()

    async def _await(self, ticket: UUID, ids: list[int]) -> None:
        await self._work(ticket, ids)

    def _told(self, connected: bool) -> None:  # noqa: FBT001 - what a connection tells
        if connected != self.connected:
            self.connected = connected
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._changed)


def _watch(broker: Broker, told: Callable[[bool], None]) -> None:
    """Have a broker's consumers tell whether they are connected."""
    inner = broker.consume

    def consume(queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> Consumer:
        try:
            return _Watched(inner(queue_name, prefetch, timeout), told)
        except Exception:
            told(False)
            raise

    broker.consume = consume  # type: ignore[method-assign]


class _Watched(Wrapped):
    """A consumer that tells what each look at its queue says about the connection."""

    def __init__(self, inner: Consumer, told: Callable[[bool], None]) -> None:
        super().__init__(inner)
        self._told = told

    def __next__(self) -> Any:
        try:
            found = super().__next__()
        except Exception:
            self._told(False)
            raise
        self._told(True)
        return found
