"""Windows of messages to a real RabbitMQ: what it did not take is told apart from what it has."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from outbox.queries_tickets import Ticket
from outbox.transport import confirms
from outbox.transport.brokers import QUEUE_ARGUMENTS, BrokerAddress, open_broker
from outbox.transport.confirms import Publisher, Sent
from outbox.transport.sending import DramatiqSender
from tests.transport.conftest import broker_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.broker

WINDOWS_MAX = 100
"""After so many messages a queue of three is full, whenever it notices."""


class Shore:
    """A queue of the test's own, seen by another connection than the publisher's."""

    def __init__(self) -> None:
        self.address = BrokerAddress.of(broker_url("rabbitmq"))
        self.queue = f"outbox.test.{os.getpid()}.{uuid4().hex[:8]}"
        self._broker: Any = open_broker(self.address)

    def arrived(self) -> list[bytes]:
        """What lies there, in its order; it stays there no longer."""
        found = []
        while (got := self._broker.channel.basic_get(self.queue, auto_ack=True))[0] is not None:
            found.append(got[2])
        return found

    def delete(self) -> None:
        self._broker.channel.queue_delete(self.queue)

    def messages(self, count: int) -> list[Sent]:
        return [Sent(str(number), self.queue, b"%d" % number) for number in range(count)]

    def close(self) -> None:
        self.delete()
        self._broker.close()


@asynccontextmanager
async def published() -> AsyncIterator[tuple[Shore, Publisher]]:
    shore = Shore()
    publisher = Publisher(shore.address)
    try:
        yield shore, publisher
    finally:
        await publisher.close()
        shore.close()


async def test_a_window_is_confirmed_whole_and_in_order() -> None:
    async with published() as (shore, publisher):
        confirmed = await publisher.publish(shore.messages(50))

        assert confirmed == {str(number) for number in range(50)}
        assert shore.arrived() == [b"%d" % number for number in range(50)]


async def test_what_a_full_queue_refused_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nack for some of a window says nothing against the others."""
    full = {**QUEUE_ARGUMENTS, "x-max-length": 3, "x-overflow": "reject-publish"}
    monkeypatch.setattr(confirms, "QUEUE_ARGUMENTS", full)
    async with published() as (shore, publisher):
        taken = 0
        for _ in range(WINDOWS_MAX):  # the broker tells itself of the limit a moment later
            confirmed = await publisher.publish(shore.messages(20))
            taken += len(confirmed)
            if len(confirmed) < 20:
                break

        assert len(confirmed) < 20
        assert len(shore.arrived()) == taken > 0


async def test_a_queue_that_vanished_is_made_again_for_what_came_back() -> None:
    async with published() as (shore, publisher):
        await publisher.publish(shore.messages(1))
        shore.delete()

        confirmed = await publisher.publish(shore.messages(20))

        assert len(confirmed) == 20
        assert sorted(shore.arrived()) == sorted(b"%d" % number for number in range(20))


async def test_a_sender_tells_which_tickets_were_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {**QUEUE_ARGUMENTS, "x-max-length": 3, "x-overflow": "reject-publish"}
    monkeypatch.setattr(confirms, "QUEUE_ARGUMENTS", full)
    shore = Shore()
    sender = DramatiqSender(shore.address)
    await sender.open()
    try:
        taken, unsent = list[Ticket](), list[Ticket]()
        for _ in range(WINDOWS_MAX):
            tickets = [Ticket(uuid4(), shore.queue, [number]) for number in range(20)]
            unsent = await sender.send(tickets)
            taken += [one for one in tickets if one not in unsent]
            if unsent:
                break
        arrived = b"".join(shore.arrived()).decode()

        assert unsent
        assert sender.trouble is not None
        assert all(str(one.token) in arrived for one in taken)
        assert not any(str(one.token) in arrived for one in unsent)
    finally:
        await sender.close()
        shore.close()
