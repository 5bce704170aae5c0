"""Relay and worker over real brokers: each effect, what travels, and brokers that are lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from dramatiq.errors import ConnectionClosed
from structlog.testing import capture_logs

from outbox import Publication, Relay, VirtualClock, publish_many, queries_tickets
from outbox.errors import BrokerUnreachable, ConfigurationError
from outbox.probe import Address, answering
from outbox.transport.brokers import Attended, BrokerAddress, open_broker
from outbox.transport.sending import DramatiqSender
from outbox.transport.tickets import Tickets
from outbox.transport.worker import Worker, taken_of
from tests.outbox.test_probe import get
from tests.transport.conftest import broker_url
from tests.transport.crowd import Parcel, Seen, crowd
from tests.transport.proxy import proxied
from tests.transport.scene import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outbox import App
    from tests.outbox.conftest import Rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARCELS, KEYS = 60, 6
TICKETS = "select * from outbox.lease where queue is not null"
WORKERS = "select * from outbox.worker"
WORKED_ON = """
select 1 from outbox.lease as e inner join outbox.delivery as d on d.lease_token = e.token
where e.queue is null
"""
LEFT = "select count(*) from outbox.delivery"


def publish(dsn: str, *numbers: int) -> None:
    with psycopg.connect(dsn) as conn:
        publish_many(
            conn,
            [
                Publication(message=Parcel(number=n, key=f"k{n % KEYS}"), key=f"k{n % KEYS}")
                for n in numbers
            ],
        )


@asynccontextmanager
async def working(
    app: App, dsn: str, address: BrokerAddress, forget_at: BrokerAddress | None = None
) -> AsyncIterator[Worker]:
    """A worker at work; it has stopped when the block is left, and its queues are gone."""
    worker, stop = Worker(app, dsn, address), asyncio.Event()
    try:
        async with worker.opened():
            work = asyncio.create_task(worker.run(stop))
            try:
                yield worker
            finally:
                stop.set()
                await work
    finally:
        with suppress(BrokerUnreachable):  # one of the test's own may be gone
            await asyncio.to_thread(forget, forget_at or address, queues_of(worker))


@asynccontextmanager
async def relaying(app: App, dsn: str, address: BrokerAddress) -> AsyncIterator[Relay]:
    """A relay that sends tickets, at work until the block is left."""
    relay, stop = Relay(app, dsn, transport=Tickets(DramatiqSender(address))), asyncio.Event()
    async with relay.opened():
        work = asyncio.create_task(relay.run(stop))
        try:
            yield relay
        finally:
            stop.set()
            await work


def queues_of(worker: Worker) -> list[str]:
    return [taken.queue for taken, _ in worker.consumers.values()]


def forget(address: BrokerAddress, queues: list[str]) -> None:
    """Delete queues: they belong to a database that is about to go."""
    broker: Any = open_broker(address)
    for queue in queues:
        if address.is_redis:
            client = broker.client
            for key in client.scan_iter(match=f"outbox:*{queue}*"):
                client.delete(key)
        else:
            broker.channel.queue_delete(queue)
    broker.close()


def lose(address: BrokerAddress, queues: list[str]) -> None:
    """Empty queues, as a broker does that kept nothing on its disk."""
    if address.is_redis:
        forget(address, queues)
        return
    broker: Any = open_broker(address)
    for queue in queues:
        broker.channel.queue_purge(queue)
    broker.close()


def make_queue(address: BrokerAddress, queue: str) -> None:
    """Make it where queues are made; a relay would when it sends the first ticket."""
    broker: Any = open_broker(address)
    if not address.is_redis:
        broker.declare_queue(queue, ensure=True)
    broker.close()


def bodies(address: BrokerAddress, queue: str) -> list[bytes]:
    """What lies in a queue, as it is there."""
    broker: Any = open_broker(address)
    try:
        if address.is_redis:
            return list(broker.client.hgetall(f"outbox:{queue}.msgs").values())
        found = list[bytes]()
        while (got := broker.channel.basic_get(queue))[0] is not None:
            found.append(got[2])
        return found
    finally:
        broker.close()


async def test_every_effect_and_order_as_inline(
    address: BrokerAddress, database: str, rows: Rows
) -> None:
    seen = Seen()
    app = crowd(seen)
    async with working(app, database, address) as worker, relaying(app, database, address):
        publish(database, *range(PARCELS))
        await until(lambda: rows(LEFT) == [(0,)])
        with answering(Address("127.0.0.1", 0), worker.vitals) as asked_at:
            ready = await asyncio.to_thread(get, asked_at, "/readyz")
            metrics = (await asyncio.to_thread(get, asked_at, "/metrics"))[1]

    assert ready[0] == 200
    assert json.loads(ready[1])["worker"] == worker.name
    for handler in ("write", "call", "push", "keyed"):
        told = f'outbox_attempts_total{{handler="{handler}",outcome="done"}} {float(PARCELS)}'
        assert told in metrics
        assert f'outbox_worker_connected{{handler="{handler}"}} 1.0' in metrics
    assert rows("select count(*), count(distinct delivery_id) from effect") == [(PARCELS, PARCELS)]
    for handler in ("call", "push", "keyed"):
        assert seen.calls[handler] == dict.fromkeys(range(PARCELS), 1)
    for key in range(KEYS):
        mine = list(range(key, PARCELS, KEYS))
        assert seen.order["keyed", f"k{key}"] == mine
        assert seen.order["newest", f"k{key}"][-1] == mine[-1]
        assert seen.order["newest", f"k{key}"] == sorted(set(seen.order["newest", f"k{key}"]))
    assert rows(
        "select count(*) from outbox.receipt where outcome not in ('done', 'superseded')"
    ) == [(0,)]
    assert rows(TICKETS) == rows(WORKED_ON) == []
    assert rows("select * from outbox.worker") == []
    assert rows("select * from outbox.relay") == []


async def test_a_ticket_holds_a_token_and_ids_and_nothing_of_a_message(
    address: BrokerAddress, database: str, rows: Rows
) -> None:
    """P12, and what a ticket may cost: the queue is read here before any worker reads it."""
    app = crowd(Seen())
    identity = await identity_of(database)
    taken = taken_of(app.handlers["call"], identity)[0]
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        await queries_tickets.beat_worker(conn, worker="w", taken=[taken])
    await asyncio.to_thread(make_queue, address, taken.queue)
    try:
        async with relaying(app, database, address):
            publish(database, 1)
            await until(lambda: bool(rows(TICKETS)))
            found: list[bytes] = []
            while not found:
                found = await asyncio.to_thread(bodies, address, taken.queue)
        told = found[0].decode()
        ((token, delivery_id),) = rows(
            "select lease_token::text, id from outbox.delivery where handler = 'call'"
        )
        assert json.loads(told)["args"] == [token, [delivery_id]]
        assert "example.org" not in told
        assert "parcel" not in told
    finally:
        await asyncio.to_thread(forget, address, [taken.queue])


async def test_a_broker_cut_off_in_the_middle_loses_and_doubles_nothing(
    address: BrokerAddress, database: str, rows: Rows
) -> None:
    seen, clock = Seen(), VirtualClock(datetime.now(UTC))
    app = crowd(seen, clock)
    async with proxied(address) as proxy:
        sender = DramatiqSender(proxy.address)
        relay, stop = Relay(app, database, transport=Tickets(sender)), asyncio.Event()
        at_work = working(app, database, proxy.address, forget_at=address)
        async with at_work as worker, relay.opened():
            work = asyncio.create_task(relay.run(stop))
            seen.gate.clear()
            publish(database, *range(PARCELS))
            await until(lambda: seen.total >= 8)  # calls and tickets are under way
            with capture_logs() as logs:
                await proxy.cut()
                publish(database, *range(PARCELS, 2 * PARCELS))
                seen.gate.set()
                # a worker that notices first takes its queues away: then nothing is to be sent
                await until(lambda: sender.trouble is not None or not rows(WORKERS))
                spent = rows(
                    "select max(attempts), max(lone_claims) from outbox.delivery"
                    " where last_reason is null"
                )
                await until(lambda: idle(worker, rows))
                clock.advance(timedelta(seconds=31))  # what was lost on its way is sent again
                await proxy.listen()
                await until(lambda: rows(LEFT) == [(0,)], 60)
            stop.set()
            await work

    told = {line["event"] for line in logs}
    assert "worker.broker_failed" in told
    assert ("relay.broker_failed" in told) is ("relay.broker_back" in told)
    assert spent in ([(0, 0)], [(None, None)])
    assert sender.trouble is None
    numbers = dict.fromkeys(range(2 * PARCELS), 1)
    assert seen.calls["call"] == seen.calls["push"] == seen.calls["keyed"] == numbers
    assert rows("select count(*) from effect") == [(2 * PARCELS,)]
    assert rows("select * from outbox.dead_letter") == []


async def test_tickets_that_a_broker_lost_are_sent_again(
    address: BrokerAddress, database: str, rows: Rows
) -> None:
    """What lies in the queues is gone; a lease later it is there again."""
    seen, clock = Seen(), VirtualClock(datetime.now(UTC))
    app = crowd(seen, clock)
    async with working(app, database, address) as worker:
        seen.gate.clear()
        async with relaying(app, database, address):
            publish(database, *range(PARCELS))
            await until(lambda: seen.total >= 8)
            await until(
                lambda: len(rows("select * from outbox.lease where queue is not null")) >= 8
            )
            await asyncio.to_thread(
                lose, address, [one.queue for one, _ in worker.consumers.values()]
            )
            seen.gate.set()
            before = rows("select max(lone_claims) from outbox.delivery")
            clock.advance(timedelta(seconds=31))
            await until(lambda: rows(LEFT) == [(0,)], 60)

    assert before == [(0,)]
    numbers = dict.fromkeys(range(PARCELS), 1)
    assert seen.calls["call"] == seen.calls["keyed"] == numbers
    assert set(seen.calls["push"].values()) == {1}
    assert rows("select count(*) from effect") == [(PARCELS,)]
    assert rows("select * from outbox.dead_letter") == []


@pytest.mark.broker
def test_a_consumer_whose_queue_vanished_unsaid_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A queue made again under the same name would fill with nobody to read it."""
    address = BrokerAddress.of(broker_url("rabbitmq"))
    queue = f"outbox.test.{os.getpid()}.unsaid"
    broker: Any = open_broker(address)
    # asked for silence, the broker says as little of a cancelled consumer as when the word is lost
    broker.parameters.client_properties = {"capabilities": {"consumer_cancel_notify": False}}
    monkeypatch.setattr(Attended, "after", 0.0)
    consumer = broker.consume(queue, timeout=20)
    try:
        assert next(consumer) is None
        forget(address, [queue])
        broker.declare_queue(queue, ensure=True)
        with pytest.raises(ConnectionClosed):
            deque(islice(consumer, 50), maxlen=0)
    finally:
        with suppress(ConnectionClosed):
            consumer.close()
        broker.close()
        forget(address, [queue])


def idle(worker: Worker, rows: Rows) -> bool:
    """Whether nothing that a worker had fetched is still to be worked on."""
    fetched = [one._worker.work_queue for _, one in worker.consumers.values() if one._worker]
    return (
        all(queue.empty() for queue in fetched)
        and not any(worker.vitals.in_flight().values())
        and not any(lane.waiting for lane in worker.lanes.values())
        and rows(WORKED_ON) == []
    )


@dataclass
class Redis:
    """A Redis of the test's own that keeps nothing on disk, to be killed."""

    program: str
    port: int
    folder: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress.of(f"redis://127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start it with nothing in it."""
        self._process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL: what it held is gone."""
        assert self._process is not None, "it is started first"
        self._process.kill()
        self._process.wait()

    def answers(self) -> bool:
        try:
            open_broker(self.address).close()
        except BrokerUnreachable:
            return False
        return True


@pytest.mark.broker
async def test_a_broker_killed_and_started_again_loses_and_doubles_nothing(
    database: str, rows: Rows, tmp_path: Path
) -> None:
    if (program := shutil.which("redis-server")) is None:
        pytest.skip("redis-server is not installed: no broker to kill")
    with socket.create_server(("127.0.0.1", 0)) as free:
        broker = Redis(program, free.getsockname()[1], tmp_path)
    seen, clock = Seen(), VirtualClock(datetime.now(UTC))
    app, numbers = crowd(seen, clock), dict.fromkeys(range(2 * PARCELS), 1)
    broker.start()
    try:
        await until(broker.answers)
        at_work = working(app, database, broker.address)
        async with at_work as worker, relaying(app, database, broker.address) as relay:
            seen.gate.clear()
            publish(database, *range(PARCELS))
            await until(lambda: seen.total >= 8 and len(rows(TICKETS)) >= 8)
            broker.kill()
            publish(database, *range(PARCELS, 2 * PARCELS))
            seen.gate.set()
            await until(lambda: idle(worker, rows))
            lost = len(rows(TICKETS))
            clock.advance(timedelta(seconds=31))
            broker.start()
            await until(lambda: rows(LEFT) == [(0,)], 60)
            await until(lambda: relay.vitals.trouble() is None)
    finally:
        broker.kill()

    assert lost
    assert seen.calls["call"] == seen.calls["push"] == seen.calls["keyed"] == numbers
    assert rows("select count(*), count(distinct delivery_id) from effect") == [
        (2 * PARCELS, 2 * PARCELS)
    ]
    assert rows("select * from outbox.dead_letter") == []


async def identity_of(dsn: str) -> str:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        return await queries_tickets.identify_database(conn)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "BROKER_URL is not set"),
        ("", "BROKER_URL is not set"),
        ("kafka://u:s3cret@host", "begins with 'kafka'"),
        ("amqp://", "names no host"),
        ("redis://u:s3cret@host:port", "is no address"),
    ],
)
def test_an_address_that_is_no_broker_s_is_refused(url: str | None, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        BrokerAddress.of(url)

    assert "s3cret" not in str(refused.value)
    assert "amqps" in str(refused.value)


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_nobody_runs_is_named_without_its_password(scheme: str) -> None:
    with pytest.raises(BrokerUnreachable, match="nothing listens there") as refused:
        open_broker(BrokerAddress.of(f"{scheme}://clerk:s3cret@127.0.0.1:1"))

    assert "s3cret" not in str(refused.value)
    assert "clerk" not in str(refused.value)


def test_wrong_credentials_are_told_apart(address: BrokerAddress) -> None:
    parts = urlsplit(address.url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    wrong = parts._replace(netloc=f"nobody:s3cret@{where}").geturl()
    with pytest.raises(BrokerUnreachable, match="the user or password is wrong") as refused:
        open_broker(BrokerAddress.of(wrong))

    assert "s3cret" not in str(refused.value)


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['dramatiq'] = None; sys.argv[1:] = ['--app',"
        " 'tests.transport.program:app', 'worker'];"
        " from outbox.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/x"},
    )  # fmt: skip

    assert ended.returncode == 2
    assert "outbox-saga[dramatiq]" in ended.stderr
    assert "Traceback" not in ended.stderr
