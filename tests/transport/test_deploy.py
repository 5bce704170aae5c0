"""A rolling deploy of the example shop: two releases as real processes on one database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from examples.shop import orders, tables
from examples.shop.migrations import HISTORY
from outbox import publish
from outbox.dsn import sqlalchemy_url
from outbox.transport.brokers import BrokerAddress
from outbox.transport.worker import taken_of
from tests.transport.conftest import broker_url
from tests.transport.scene import until
from tests.transport.shop_next import OrderPlacedOn
from tests.transport.shop_next import app as next_app
from tests.transport.shop_now import app as now_app
from tests.transport.test_brokers import ROOT, forget, identity_of

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.conftest import Server

pytestmark = pytest.mark.slow

NOW, NEXT = "tests.transport.shop_now:app", "tests.transport.shop_next:app"
ORDERS = 10
TABLES = "create table channel (order_id bigint primary key, name text);"
TABLES += " create table points (order_id bigint primary key)"


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """The shop's database: the next release needs no revision of its own."""
    with server.fresh(migrated=True) as dsn:
        HISTORY.upgrade(dsn)
        with psycopg.connect(dsn) as conn:
            conn.execute(TABLES)
        yield dsn


def seen(dsn: str, statement: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(statement).fetchall()


def place(dsn: str, *, released: str) -> None:
    """Take orders as the web shop of a release does."""
    engine = sa.create_engine(sqlalchemy_url(dsn))
    with Session(engine) as session, session.begin():
        if session.execute(sa.select(tables.stock.c.item)).first() is None:
            session.execute(sa.insert(tables.stock).values(item="teapot", available=1000))
        for _ in range(ORDERS):
            if released == NOW:
                orders.place(session, item="teapot", count=1, email="somebody@example.org")
                continue
            values = {"item": "teapot", "count": 1, "email": "somebody@example.org"}
            made = sa.insert(tables.order).values(values).returning(tables.order.c.id)
            order_id = session.execute(made).scalar_one()
            publish(session, OrderPlacedOn(order_id=order_id, channel="web"))
    engine.dispose()


@asynccontextmanager
async def at_work(dsn: str, log: Path, *daemons: tuple[str, ...]) -> AsyncIterator[list[Process]]:
    """Run commands of the engine; at the end they are told to stop, and did it well."""
    env = {**os.environ, "DATABASE_URL": dsn, "LOG_FORMAT": "json"}
    with log.open("ab") as said:
        running = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "outbox", "--app", *daemon, cwd=ROOT, env=env, stderr=said
            )
            for daemon in daemons
        ]
    try:
        yield running
    finally:
        for process in running:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        codes = [await process.wait() for process in running]
    assert set(codes) == {0}


async def seen_at_least(dsn: str, relays: int, workers: int) -> None:
    """Wait until so many relays and workers have said that they live."""
    alive = "select (select count(*) from outbox.relay), count(distinct id) from outbox.worker"
    await until(
        lambda: all(a >= b for a, b in zip(*seen(dsn, alive), (relays, workers), strict=True)), 60
    )


async def deploy(dsn: str, log: Path, *kinds: tuple[str, ...]) -> None:
    """Publish as both releases before, while and after both are at work."""
    workers = sum("worker" in kind for kind in kinds)
    old = [(NOW, *kind) for kind in kinds]
    new = [(NEXT, *kind) for kind in kinds]
    async with at_work(dsn, log, *old):
        await seen_at_least(dsn, 1, workers)
        place(dsn, released=NOW)
        async with at_work(dsn, log, *new):
            await seen_at_least(dsn, 2, 2 * workers)
            for released in (NEXT, NOW, NEXT):
                place(dsn, released=released)
            await until(lambda: seen(dsn, "select * from outbox.delivery") == [], 60)


def assert_each_was_done_once(dsn: str, log: Path) -> None:
    assert seen(dsn, "select distinct outcome, attempt from outbox.receipt") == [("done", 1)]
    assert seen(dsn, "select * from outbox.dead_letter") == []
    assert seen(dsn, "select count(*), min(status), max(mail) from shop.order") == [
        (4 * ORDERS, "confirmed", "done")
    ]
    assert seen(dsn, "select count(*) from channel") == [(2 * ORDERS,)]  # none by the old release
    assert seen(dsn, "select count(*) from points")[0][0] >= 3 * ORDERS
    assert seen(dsn, "select available from shop.stock") == [(1000 - 4 * ORDERS,)]
    told = log.read_text()
    assert "failed" not in told
    assert "delivery.dead" not in told


async def test_inline_relays_of_two_releases_share_the_work(dsn: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    await deploy(dsn, log, ("relay",))

    assert_each_was_done_once(dsn, log)


@pytest.mark.broker
async def test_relays_and_workers_of_two_releases_share_a_broker(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker is handed only what its code reads."""
    address, log = BrokerAddress.of(broker_url("rabbitmq")), tmp_path / "log"
    monkeypatch.setenv("BROKER_URL", address.url)
    try:
        await deploy(dsn, log, ("relay", "--transport", "dramatiq"), ("worker",))

        assert_each_was_done_once(dsn, log)
        assert "version_unreadable" not in log.read_text()
    finally:
        identity = await identity_of(dsn)
        handlers = [*now_app.handlers.values(), *next_app.handlers.values()]
        queues = {taken_of(handler, identity)[0].queue for handler in handlers}
        await asyncio.to_thread(forget, address, sorted(queues))
