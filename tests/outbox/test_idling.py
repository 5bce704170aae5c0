"""What an idle relay does for one message: it hears the bell, looks once, and sleeps again (P8)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import AsyncConnection

from outbox import App, Done, Effect, Handler, Order, Relay, apublish, idling
from outbox.lane import SETTLING_MAX
from tests.outbox.shop import OrderPlaced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outbox import Attempt, Outcome
    from outbox.handler import OutsideCall
    from tests.outbox.conftest import Rows

WAIT_SECONDS = 30


@pytest.fixture(autouse=True)
def _the_bell_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that would look by itself in an hour: what it finds, it was rung for."""
    for name in ("POLL_SECONDS", "SLOW_POLL_SECONDS"):
        monkeypatch.setattr(idling, name, 3_600)
    monkeypatch.setattr(idling, "FAST_POLL_FOR_SECONDS", 0)


@asynccontextmanager
async def asleep(app: App, dsn: str, rows: Rows) -> AsyncIterator[Relay]:
    """A relay at work that has asked for the bell and hears it."""
    stop, relay = asyncio.Event(), Relay(app, dsn)
    listens = "select count(*) from pg_stat_activity where query = 'listen outbox'"
    async with relay.opened():
        running = asyncio.create_task(relay.run(stop))
        try:
            while not (  # noqa: ASYNC110 - the server tells
                rows(listens) == [(1,)]
                and rows("select asleep_until > now() from outbox.relay") == [(True,)]
            ):
                await asyncio.sleep(0)
            yield relay
        finally:
            stop.set()
            await running


def shop(call: OutsideCall, **terms: Any) -> App:
    app = App("shop")
    app.add(
        Handler(name="mail", messages=(OrderPlaced,), effect=Effect.IDEMPOTENT, call=call, **terms)
    )
    return app


async def place(dsn: str, order: int, key: str | None = None) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        await apublish(conn, OrderPlaced(order_id=order), key=key)


def looks(relay: Relay) -> int:
    """How many claims it has made."""
    return relay.lanes["mail"].meter.claims.total()


async def until_settled(rows: Rows, count: int) -> None:
    while rows("select count(*) from outbox.receipt") != [(count,)]:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)


async def until_over(relay: Relay) -> None:
    """Until what it ran has ended there too: the database says so a moment before."""
    while not all(batch.done() for batch in relay._running["mail"]):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # whoever waits for the end has heard of it


async def test_one_ring_is_one_claim(database: str, rows: Rows) -> None:
    """The end of a call that was all there was is no reason to look again."""

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        return Done()

    messages = 5
    async with asleep(shop(call), database, rows) as relay:
        await place(database, 0)
        await until_settled(rows, 1)
        await until_over(relay)
        before = looks(relay)
        for order in range(1, messages + 1):
            await place(database, order)
            await until_settled(rows, order + 1)
            await until_over(relay)
        claims = looks(relay) - before

    assert claims == messages


async def test_who_rang_while_there_was_no_room_is_served_when_there_is(
    database: str, rows: Rows
) -> None:
    """The ring was heard when nothing could be claimed; no other will come."""
    called, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        called.release()
        await may_end.wait()
        return Done()

    app = shop(call, concurrency=100)
    async with asleep(app, database, rows) as relay, asyncio.timeout(WAIT_SECONDS):
        for order in range(SETTLING_MAX):
            await place(database, order)
            await called.acquire()
        heard = relay._notifier.subscribe()
        await place(database, SETTLING_MAX)
        await heard.wait()
        for _ in range(20):  # and the lane has looked for room
            await asyncio.sleep(0)
        may_end.set()
        await until_settled(rows, SETTLING_MAX + 1)

    assert rows("select count(*) from outbox.delivery") == [(0,)]


async def test_who_rang_while_its_key_was_busy_is_served_when_it_is_free(
    database: str, rows: Rows
) -> None:
    """P5: the second of a key waits for the first, and for no look an hour later."""
    called, may_end = asyncio.Event(), asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        called.set()
        await may_end.wait()
        return Done()

    app = shop(call, order=Order.KEYED)
    async with asleep(app, database, rows) as relay, asyncio.timeout(WAIT_SECONDS):
        await place(database, 1, key="a")
        await called.wait()
        before = looks(relay)
        await place(database, 2, key="a")
        while looks(relay) == before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        may_end.set()
        await until_settled(rows, 2)

    assert rows("select count(*) from outbox.delivery") == [(0,)]
