"""RabbitMQ, told from the event loop: many messages out at once, each with a confirm of its own.

A broker confirms what is on its disks. Who waits for one confirm before the next message leaves is
as slow as the disk; here a window of messages leaves, and all their confirms are waited for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.spec import Basic

from outbox.transport.brokers import ANSWER_SECONDS, QUEUE_ARGUMENTS, parameters_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.transport.brokers import BrokerAddress

Answer = TypeVar("Answer")


class Sent(NamedTuple):
    """A message to be put into a queue; `id` tells it from all others."""

    id: str
    queue: str
    body: bytes


class Publisher:
    """Puts messages into queues from one event loop, over one connection opened when needed."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._link: _Link | None = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[Sent]) -> set[str]:
        """Send all and wait for their confirms; the ids of those that the broker has.

        What is not confirmed is sent once more: a connection that lay idle too long was closed, a
        queue may be gone. Raises what pika raises, or `OSError`, where none of it is confirmed.
        """
        confirmed: set[str] = set()
        for last in (False, True):
            left = [one for one in messages if one.id not in confirmed]
            if not left:
                break
            try:
                link = await self._linked()
                await link.publish(left, confirmed)
            except (pika.exceptions.AMQPError, OSError):
                if self._link is not None:
                    self._link.hang_up()
                if last and not confirmed:
                    raise
        return confirmed

    async def _linked(self) -> _Link:
        if self._link is None or not self._link.usable:
            async with self._opening:  # whoever came second finds it open
                if self._link is None or not self._link.usable:
                    self._link = await _Link.open(self._address)
        return self._link

    async def close(self) -> None:
        """Hang up, and wait until that is done."""
        if self._link is not None:
            await self._link.close()


class _Link:
    """One connection with one channel in confirm mode, and what is out on it."""

    def __init__(self, address: BrokerAddress) -> None:
        self._loop = asyncio.get_running_loop()
        self._awaited: set[asyncio.Future[Any]] = set()
        self._failed: BaseException | None = None
        self._over = asyncio.Event()
        self._declared: set[str] = set()
        self._returned: set[str] = set()
        self._out: dict[int, tuple[Sent, asyncio.Future[bool]]] = {}
        self._tag = 0
        self._opened: asyncio.Future[None] = self._future()
        self._channel: Any = None
        self._connection = AsyncioConnection(
            parameters_of(address),
            on_open_callback=lambda _: _answer(self._opened, None),
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._loop,
        )

    @classmethod
    async def open(cls, address: BrokerAddress) -> _Link:
        """Connect. Raises what pika raises, or `TimeoutError`."""
        link = cls(address)
        try:
            await link._answered(link._opened)
            ready: asyncio.Future[None] = link._future()
            channel = link._channel = link._connection.channel(
                on_open_callback=lambda _: _answer(ready, None)
            )
            channel.add_on_close_callback(lambda _, error: link._fail(error))
            await link._answered(ready)
            channel.add_on_return_callback(link._on_return)
            confirming: asyncio.Future[None] = link._future()
            channel.confirm_delivery(link._on_confirm, lambda _: _answer(confirming, None))
            await link._answered(confirming)
        except BaseException:
            link.hang_up()
            raise
        return link

    @property
    def usable(self) -> bool:
        """Whether it is open, as far as we were told."""
        return self._failed is None

    async def publish(self, messages: Sequence[Sent], confirmed: set[str]) -> None:
        """Send all and wait; `confirmed` is given the ids, also when it ends by an error."""
        for queue in {one.queue for one in messages} - self._declared:
            await self._declare(queue)
        out = [(one, self._send(one)) for one in messages]
        try:
            for _, future in out:
                await self._answered(future)
        finally:
            confirmed.update(one.id for one, future in out if _said_yes(future))

    def hang_up(self) -> None:
        """Begin to close; whatever is awaited fails."""
        self._fail(pika.exceptions.ConnectionClosedByClient(200, "hung up"))
        if self._connection.is_open:
            self._connection.close()

    async def close(self) -> None:
        """Hang up and wait for the end."""
        was_open = self._connection.is_open
        self.hang_up()
        if was_open:
            try:
                await asyncio.wait_for(self._over.wait(), ANSWER_SECONDS)
            except TimeoutError:  # it is left to the operating system
                return

    async def _declare(self, queue: str) -> None:
        self._raise_if_failed()
        declared: asyncio.Future[None] = self._future()
        self._channel.queue_declare(
            queue, durable=True, arguments=dict(QUEUE_ARGUMENTS),
            callback=lambda _: _answer(declared, None),
        )  # fmt: skip
        await self._answered(declared)
        self._declared.add(queue)

    def _send(self, message: Sent) -> asyncio.Future[bool]:
        self._raise_if_failed()
        self._tag += 1
        future: asyncio.Future[bool] = self._future()
        self._out[self._tag] = message, future
        self._channel.basic_publish(
            exchange="", routing_key=message.queue, body=message.body, mandatory=True,
            properties=pika.BasicProperties(delivery_mode=2, message_id=message.id),
        )  # fmt: skip
        return future

    def _on_return(self, _: Any, __: Any, properties: Any, ___: bytes) -> None:
        """A message that has no queue comes back, and is confirmed after that all the same."""
        self._returned.add(properties.message_id)

    def _on_confirm(self, frame: Any) -> None:
        """Of one message, or of all up to it."""
        last, taken = frame.method.delivery_tag, isinstance(frame.method, Basic.Ack)
        for tag in [t for t in self._out if t <= last] if frame.method.multiple else [last]:
            message, future = self._out.pop(tag)
            came_back = message.id in self._returned
            if came_back:
                self._returned.discard(message.id)
                self._declared.discard(message.queue)
            _answer(future, taken and not came_back)

    def _on_closed(self, _: Any, error: BaseException) -> None:
        self._over.set()
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failed = self._failed or error
        for future in list(self._awaited):
            if not future.done():
                future.set_exception(error)
                future.exception()  # it may be that nobody waits for it any more

    def _raise_if_failed(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _future(self) -> asyncio.Future[Any]:
        """One that fails with the connection."""
        future = self._loop.create_future()
        self._awaited.add(future)
        future.add_done_callback(self._awaited.discard)
        return future

    async def _answered(self, future: asyncio.Future[Answer]) -> Answer:
        """Wait for an answer, as long as a broker may take."""
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future


def _answer(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _said_yes(future: asyncio.Future[bool]) -> bool:
    return future.done() and not future.cancelled() and not future.exception() and future.result()
