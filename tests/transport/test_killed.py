"""A worker is killed in the middle of its work; what it left is finished, or told as unknown."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from outbox import Publication, publish_many
from outbox.transport.brokers import BrokerAddress
from outbox.transport.worker import taken_of
from tests.crash.application import EFFECT_TABLE, Parcel, application
from tests.crash.test_crash import (
    AHEAD_SECONDS,
    DEATHS,
    LINUX,
    PARCELS,
    ROOT,
    Receiver,
    World,
)
from tests.transport.conftest import broker_url
from tests.transport.scene import until
from tests.transport.test_brokers import forget, identity_of, relaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Server

pytestmark = pytest.mark.slow


# Leased, and not under a ticket.
HELD = """
select d.id from outbox.delivery as d inner join outbox.lease as e on e.token = d.lease_token
where e.queue is null
"""


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    with server.fresh(migrated=True) as dsn:
        yield dsn


@asynccontextmanager
async def world_on(
    dsn: str, address: BrokerAddress, handlers: str = "write,call,push"
) -> AsyncIterator[World]:
    """A database, a receiver and a relay that sends tickets; its queues are gone afterwards."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(EFFECT_TABLE)
        async with Receiver().listening() as receiver:
            app = application(receiver.port, timedelta(0), handlers.split(","))
            identity = await identity_of(dsn)
            queues = [taken_of(handler, identity)[0].queue for handler in app.handlers.values()]
            try:
                async with relaying(app, dsn, address):
                    yield World(dsn, conn, receiver, handlers)
            finally:
                await asyncio.to_thread(forget, address, queues)


def publish(world: World, *parcels: Parcel) -> None:
    """The relay has registered the routes already."""
    with psycopg.connect(world.dsn) as conn:
        publish_many(conn, [Publication(message=parcel) for parcel in parcels])


async def worker_of(world: World, address: BrokerAddress) -> Process:
    """The next life of the worker: all leases of the one before have run out."""
    ahead = world.lives * AHEAD_SECONDS
    world.lives += 1
    arguments = [world.dsn, str(world.receiver.port), str(ahead), world.handlers]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.transport.worker_process", *arguments,
        cwd=ROOT, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "BROKER_URL": address.url},
    )  # fmt: skip
    assert process.stdout is not None
    while (line := await process.stdout.readline()) and line != b"ready\n":
        pass
    return process


async def test_a_killed_worker_s_work_is_done_once_or_known_as_unknown(
    dsn: str, address: BrokerAddress
) -> None:
    async with world_on(dsn, address) as world:
        publish(world, *(Parcel(number=number) for number in range(PARCELS)))
        worker = await worker_of(world, address)
        await world.receiver.at(40)
        worker.kill()
        await worker.communicate()
        left = world.rows("select count(*) from outbox.delivery")
        worker = await worker_of(world, address)
        await until(
            lambda: world.rows("select * from outbox.delivery where unknown_at is null") == [], 60
        )
        worker.send_signal(signal.SIGTERM)
        await worker.communicate()

        push, pushed = world.outcomes("push"), world.receiver.arrived["push"]
        assert worker.returncode == 0
        assert left[0][0] > PARCELS  # it was killed in the middle
        assert world.rows("select count(*), count(distinct delivery_id) from effect") == [
            (PARCELS, PARCELS)
        ]
        assert set(world.outcomes("write").values()) == {"done"}
        assert set(world.outcomes("call").values()) == {"done"}
        assert set(push.values()) <= {"done", "unknown"}
        assert max(pushed.values()) == 1  # never repeated
        assert world.rows("select * from outbox.dead_letter") == []


@pytest.mark.broker
async def test_a_term_signal_finishes_what_runs_and_leaves_no_lease(dsn: str) -> None:
    """What lies in queues stays there for other workers, as tickets."""
    address = BrokerAddress.of(broker_url("rabbitmq"))
    async with world_on(dsn, address) as world:
        world.receiver.answer_seconds = 0.05
        publish(world, *(Parcel(number=number) for number in range(PARCELS)))
        worker = await worker_of(world, address)
        await world.receiver.at(20)
        worker.send_signal(signal.SIGTERM)
        await worker.communicate()

        assert worker.returncode == 0
        assert world.rows(HELD) == []
        assert world.rows("select * from outbox.worker") == []
        assert {row[0] for row in world.rows("select outcome from outbox.receipt")} == {"done"}
        assert world.rows("select max(attempts), max(lone_claims) from outbox.delivery") == [(0, 0)]
        assert sum(world.receiver.arrived["call"].values()) == len(world.outcomes("call"))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("handler", "death"), [("write", "exit"), pytest.param("call", "memory", marks=LINUX)]
)
async def test_a_deadly_message_ends_dead_and_its_neighbours_are_delivered(
    handler: str, death: str, dsn: str
) -> None:
    address = BrokerAddress.of(broker_url("rabbitmq"))
    async with world_on(dsn, address, handler) as world:
        publish(
            world, *(Parcel(number=number, deadly=death * (number == 2)) for number in range(5))
        )
        codes: list[int | None] = []
        while world.rows("select * from outbox.delivery") and len(codes) < 8:
            worker = await worker_of(world, address)
            ended = asyncio.create_task(worker.wait())
            await until(
                lambda: ended.done() or not world.rows("select * from outbox.delivery"),  # noqa: B023
                60,
            )
            if not ended.done():
                worker.send_signal(signal.SIGTERM)
            codes.append(await ended)

        assert codes[-1] == 0
        assert DEATHS[death].issuperset(codes[:-1])
        assert len(codes) <= 4  # with its neighbours, then alone, then buried
        assert world.rows("select reason from outbox.dead_letter") == [("poison",)]
        assert Counter(world.outcomes(handler).values()) == {"done": 4, "dead": 1}
