"""All through a transaction-mode PgBouncer: by polling alone, or LISTEN at its own address."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from outbox import (
    App,
    Decision,
    Done,
    Effect,
    Message,
    Order,
    Publication,
    Relay,
    Saga,
    SagaState,
    UnknownPolicy,
    apublish,
    idling,
    publish,
    publish_many,
)
from outbox.readiness import behind_pooler
from tests.outbox.pooler import pooled, program
from tests.outbox.shop import OrderPlaced, count_order, mailer, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime

    from typer.testing import Result

    from outbox import Attempt, Outcome
    from tests.outbox.conftest import Rows

pytestmark = pytest.mark.skipif(program() is None, reason="needs pgbouncer (apt: pgbouncer)")

COUNT, SERVER_CONNECTIONS = 300, 6


class Parcel(SagaState):
    """Counts what it hears."""

    heard: int = 0


def react(state: Parcel, message: Message, *, now: datetime) -> Decision[Parcel]:
    """Hear."""
    del message, now
    return Decision(Parcel(heard=state.heard + 1))


SAGA = Saga(
    name="parcel",
    state=Parcel,
    react=react,
    correlate=lambda message: f"order:{message.order_id % 3}",
    starts={OrderPlaced: lambda _: Parcel()},
)


@pytest.fixture
def through_pooler(database: str) -> Iterator[str]:
    """The test's database, by way of a pooler with few connections to the server."""
    with pooled(database, size=SERVER_CONNECTIONS) as dsn:
        yield dsn


def application() -> App:
    """Each effect, each order, and a saga."""
    app = App("shop")
    app.add(mailer(count_order, name="ledger", effect=Effect.DATABASE))
    app.add(mailer(name="keyed", order=Order.KEYED))
    app.add(
        mailer(name="label", effect=Effect.AMBIGUOUS, unknown=UnknownPolicy.HOLD, concurrency=4)
    )
    app.add_saga(SAGA)
    return app


def publish_some(dsn: str, count: int = COUNT) -> None:
    """Publish one by one and many at once, on a client connection that prepares nothing."""
    with psycopg.connect(dsn, prepare_threshold=None) as conn:
        for number in range(10):
            publish(conn, OrderPlaced(order_id=number), key=f"order:{number % 7}")
            conn.commit()
        rest = [
            Publication(message=OrderPlaced(order_id=number), key=f"order:{number % 7}")
            for number in range(10, count)
        ]
        publish_many(conn, rest)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """A relay at work for as long as the block lasts."""
    stop = asyncio.Event()
    async with relay.opened():
        task = asyncio.create_task(relay.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task


async def test_a_pooler_is_told_from_a_server(through_pooler: str, database: str) -> None:
    for dsn, expected in ((through_pooler, True), (database, False)):
        async with await AsyncConnection.connect(dsn) as conn:
            assert await behind_pooler(conn) is expected


async def test_everything_is_delivered_through_a_pooler(through_pooler: str, rows: Rows) -> None:
    """All effects, orders and sagas; no warning, and no statement prepared on the server."""
    relay = Relay(application(), through_pooler, connections_max=SERVER_CONNECTIONS)
    with capture_logs() as logs:
        async with relay.opened():
            publish_some(through_pooler)
            tried = await relay.drain()
            async with relay.pool.connection() as conn:
                prepared = await (
                    await conn.execute("select count(*) from pg_prepared_statements")
                ).fetchone()

    assert [one for one in logs if one["log_level"] not in {"info", "debug"}] == []
    assert prepared == (0,)
    done = (
        "select handler, count(*) from outbox.receipt where outcome = 'done' group by 1 order by 1"
    )
    assert rows(done) == [(name, COUNT) for name in ("keyed", "label", "ledger", "parcel")]
    assert tried == 4 * COUNT
    assert rows("select count(*) from effect") == [(COUNT,)]
    heard = "select sum((state ->> 'heard')::integer)::integer from outbox.saga"
    assert rows(heard) == [(COUNT,)]


async def test_without_an_address_for_listen_it_polls_and_nobody_rings(
    through_pooler: str, rows: Rows
) -> None:
    """A bell that nobody hears would cost each publisher a lock at its commit."""
    delivered = asyncio.Event()

    async def mail(message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        delivered.set()
        return Done()

    app = App("shop")
    app.add(mailer(mail))
    relay = Relay(app, through_pooler)
    async with running(relay):
        while not relay._idling.asleep:  # noqa: ASYNC110 - it has turned to slow polling by itself
            await asyncio.sleep(0)
        publish_some(through_pooler, 11)
        await asyncio.wait_for(delivered.wait(), 30)
        asleep = rows("select asleep_until from outbox.relay")
        listening = rows("select count(*) from pg_stat_activity where query ilike 'listen %'")

    assert asleep == [(None,)]
    assert listening == [(0,)]


async def test_the_bell_is_heard_at_its_own_address(
    through_pooler: str, database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that would look again in an hour is woken by a publisher behind the pooler."""
    for name in ("POLL_SECONDS", "SLOW_POLL_SECONDS"):
        monkeypatch.setattr(idling, name, 3_600)
    monkeypatch.setattr(idling, "FAST_POLL_FOR_SECONDS", 0)
    delivered = asyncio.Event()

    async def mail(message: Any, attempt: Attempt) -> Outcome:
        delivered.set()
        return await nothing(message, attempt)

    app = App("shop")
    app.add(mailer(mail))
    relay = Relay(app, through_pooler, listen_dsn=database)
    listens = "select count(*) from pg_stat_activity where query = 'listen outbox'"
    async with running(relay):
        while not (  # noqa: ASYNC110 - the server tells
            rows(listens) == [(1,)]
            and rows("select asleep_until > now() from outbox.relay") == [(True,)]
        ):
            await asyncio.sleep(0)
        async with await AsyncConnection.connect(through_pooler, prepare_threshold=None) as conn:
            await apublish(conn, OrderPlaced(order_id=1))
        await asyncio.wait_for(delivered.wait(), 30)


def test_the_commands_work_through_a_pooler(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, command_line: Callable[..., Result]
) -> None:
    """From the first migration to the last look."""
    app = App("shop")
    app.add(mailer())
    with pooled(empty_database, size=3) as dsn:
        monkeypatch.setenv("DATABASE_URL", dsn)

        def outbox(*args: str) -> str:
            ran = command_line(app, *args)
            assert ran.exception is None, ran.exception
            return ran.output

        outbox("migrate")
        publish_some(dsn, 20)
        outbox("relay", "--drain", "--connections", "3")
        status = outbox("status", "--json")
        explained = outbox("explain", "1")
        outbox("migrate")

    assert '"done": 20' in status
    assert "settled as done" in explained
