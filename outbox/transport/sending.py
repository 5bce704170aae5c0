"""How a relay puts tickets into a broker's queues, and how it learns that the broker is away."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from dramatiq import Message

from outbox.errors import BrokerUnreachable
from outbox.transport.brokers import ACTOR, FAILURES, open_broker, reason_of_failure
from outbox.transport.confirms import Publisher, Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dramatiq import Broker

    from outbox.queries_tickets import Ticket
    from outbox.transport.brokers import BrokerAddress

log = structlog.get_logger("outbox")

AGAIN_SECONDS = 1.0
"""How long a relay leaves a broker alone that failed it."""


class _Queues(Protocol):
    """Where messages are put."""

    async def publish(self, messages: Sequence[Sent]) -> set[str]:
        """Put all; the ids of those that are there, or one of `FAILURES` if none is."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class DramatiqSender:
    """Sends tickets that dramatiq's consumers understand, and waits for their confirms."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._queues: _Queues | None = None
        self._failed_at: float | None = None

    @property
    def trouble(self) -> str | None:
        """What keeps it from sending; None when all is well."""
        return None if self._failed_at is None else f"the broker at {self._address.where} is away"

    @property
    def may_send(self) -> bool:
        """False for a moment after the broker failed."""
        if self._failed_at is None:
            return True
        return asyncio.get_running_loop().time() - self._failed_at >= AGAIN_SECONDS

    async def open(self) -> None:
        """Connect. Raises `BrokerUnreachable`."""
        broker = await asyncio.to_thread(open_broker, self._address)
        if self._address.is_redis:
            self._queues = _RedisQueues(broker)
        else:
            await asyncio.to_thread(broker.close)
            self._queues = Publisher(self._address)

    async def send(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Send all, wait for the confirms; those that were not confirmed."""
        assert self._queues is not None, "it is opened first"
        reason = "it refused them"
        try:
            confirmed = await self._queues.publish([_sent(one) for one in tickets])
        except FAILURES as error:
            confirmed, reason = set(), reason_of_failure(error)
        unsent = [one for one in tickets if str(one.token) not in confirmed]
        if unsent:
            if self._failed_at is None:
                log.error("relay.broker_failed", broker=self._address.where, reason=reason)
            self._failed_at = asyncio.get_running_loop().time()
        else:
            self._came_back()
        return unsent

    async def try_again(self) -> None:
        """After a failure, see whether the broker is back; else a quiet relay stays in trouble."""
        if self._failed_at is None or not self.may_send:
            return
        loop = asyncio.get_running_loop()
        self._failed_at = loop.time()  # the other lanes need not look, too
        try:
            await asyncio.to_thread(_greet, self._address)
        except BrokerUnreachable:
            self._failed_at = loop.time()
        else:
            self._came_back()

    def _came_back(self) -> None:
        if self._failed_at is not None:
            self._failed_at = None
            log.info("relay.broker_back", broker=self._address.where)

    async def close(self) -> None:
        """Hang up."""
        if self._queues is not None:
            await self._queues.close()


class _RedisQueues:
    """Redis through dramatiq's own broker, which blocks: in a thread of its own."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox-sender")

    async def publish(self, messages: Sequence[Sent]) -> set[str]:
        """Put all; the ids of those that are there, or one of `FAILURES` if none is."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._enqueue, messages)

    def _enqueue(self, messages: Sequence[Sent]) -> set[str]:
        there: set[str] = set()
        for one in messages:
            try:
                self._broker.enqueue(Message.decode(one.body))
            except FAILURES:
                if not there:
                    raise
                break
            there.add(one.id)
        return there

    async def close(self) -> None:
        """Hang up."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._broker.close)
        self._thread.shutdown(wait=False)


def _sent(ticket: Ticket) -> Sent:
    message: Message[Any] = Message(
        queue_name=ticket.queue, actor_name=ACTOR, args=(str(ticket.token), ticket.ids),
        kwargs={}, options={},
    )  # fmt: skip
    return Sent(str(ticket.token), ticket.queue, message.encode())


def _greet(address: BrokerAddress) -> None:
    """Connect and hang up."""
    open_broker(address).close()
