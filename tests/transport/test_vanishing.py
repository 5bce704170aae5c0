"""RabbitMQ queues that vanish, or are made anew, under a reader: it begins again by itself."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from outbox.queries_tickets import Ticket
from outbox.transport.brokers import Attended, BrokerAddress, open_broker
from outbox.transport.consuming import TicketConsumer
from outbox.transport.sending import DramatiqSender
from tests.transport.conftest import broker_url
from tests.transport.scene import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.broker

ROUNDS = 8


@contextmanager
def queue_of_a_test() -> Iterator[tuple[Any, str]]:
    """A broker, and a queue that is gone in the end."""
    broker: Any = open_broker(BrokerAddress.of(broker_url("rabbitmq")))
    queue = f"outbox.test.{os.getpid()}.{uuid4().hex[:8]}"
    try:
        broker.declare_queue(queue, ensure=True)
        yield broker, queue
    finally:
        broker.channel.queue_delete(queue)
        broker.close()


async def test_a_queue_made_anew_again_and_again_is_read_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is deleted and made again within the millisecond, as a relay does that wants to send."""
    monkeypatch.setattr(Attended, "after", 0.05)
    monkeypatch.setattr(Attended, "renew_after", 0.05)
    arrived = set[UUID]()

    async def work(ticket: UUID, ids: list[int]) -> None:
        del ids
        arrived.add(ticket)

    with queue_of_a_test() as (broker, queue):
        address = BrokerAddress.of(broker_url("rabbitmq"))
        sender = DramatiqSender(address)
        await sender.open()
        consumer = TicketConsumer(address, queue, 2, work=work, changed=lambda: None)
        await consumer.start()
        try:
            for number in range(ROUNDS):
                await until(lambda: consumer.connected)
                broker.channel.queue_delete(queue)
                ticket = Ticket(uuid4(), queue, [number])
                assert await sender.send([ticket]) == []
                await until(partial(arrived.__contains__, ticket.token))
        finally:
            await consumer.stop()
            await sender.close()

    assert len(arrived) == ROUNDS


def test_a_reader_that_has_its_hands_full_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the queue beyond its prefetch is for others, or for later."""
    monkeypatch.setattr(Attended, "after", 0.0)
    monkeypatch.setattr(Attended, "renew_after", 0.0)
    with queue_of_a_test() as (broker, queue):
        consumer = broker.consume(queue, prefetch=1, timeout=20)
        for _ in range(3):
            broker.channel.basic_publish("", queue, MESSAGE)
        taken = next(message for message in consumer if message is not None)
        looks = list(islice(consumer, 10))
        consumer.ack(taken)
        again = next(message for message in consumer if message is not None)
        consumer.close()

        assert looks == [None] * 10
        assert again is not None


MESSAGE = (
    b'{"queue_name": "q", "actor_name": "outbox_ticket", "args": [], "kwargs": {}, "options": {},'
    b' "message_id": "1", "message_timestamp": 1}'
)
