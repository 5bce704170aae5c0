"""P7 and P8 within one process: how fast it calls, who gets a connection, what a hold stops."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    App,
    Attempt,
    DestinationHeld,
    Done,
    Effect,
    Order,
    Outcome,
    Rate,
    Relay,
    VirtualClock,
    publish,
    queries_cluster,
)
from outbox.connections import Places
from outbox.errors import UsageError
from outbox.rate import Budget
from tests.outbox.shop import SECOND, OrderPlaced, mailer, nothing

if TYPE_CHECKING:
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


async def orders(box: OutboxHarness, count: int, key: str | None = None) -> None:
    for number in range(count):
        await box.publish(OrderPlaced(order_id=number), key=key)


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.AMBIGUOUS, Effect.DATABASE])
async def test_a_claim_takes_no_more_than_the_rate_allows(
    effect: Effect, opened: Opened, rows: Rows
) -> None:
    """What must wait for its turn is not leased, so no lease runs out waiting."""

    async def call(message: Any, attempt: Attempt, *conn: Any) -> Outcome:
        del conn
        return await nothing(message, attempt)

    box = await opened(mailer(call, effect=effect, rate=Rate(2, burst=3)))
    await orders(box, 10)
    done = []
    for wait in (0 * SECOND, SECOND / 2, SECOND, timedelta(hours=1)):
        box.advance(wait)
        await box.drain()
        done.append((await box.census()).done)

    assert done == [3, 4, 6, 9]
    assert rows("select count(*) from outbox.delivery where lease_token is not null") == [(0,)]


async def test_what_was_claimed_and_not_called_is_not_taken_from_the_rate(opened: Opened) -> None:
    async def prepare(conn: Any, items: Any) -> dict[int, Any]:
        del conn
        return {attempt.delivery_id: Done() for _, attempt in items}

    box = await opened(mailer(prepare=prepare, rate=Rate(1, burst=2)))
    await orders(box, 10)
    await box.drain()

    assert (await box.census()).done == 10


async def test_real_time_is_waited_for_by_a_drain(database: str, rows: Rows) -> None:
    """`relay --drain` ends when nothing is due, not when its rate is used up."""
    app = App("shop")
    app.add(mailer(rate=Rate(50, burst=1)))
    relay = Relay(app, database)
    async with relay.opened():
        with psycopg.connect(database) as conn:
            for number in range(4):
                publish(conn, OrderPlaced(order_id=number))
        tried = await relay.drain()

    assert tried == 4
    assert rows("select count(*) from outbox.receipt") == [(4,)]


def test_a_budget_fills_up_to_its_burst_and_no_clock_runs_backwards() -> None:
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    budget = Budget(Rate(10, burst=2), clock)
    budget.spend(2)
    empty, wait = budget.free(), budget.wait()
    clock.advance(-SECOND)
    back = budget.free()
    clock.advance(SECOND)
    full = budget.free()
    budget.spend(-5)

    assert (empty, wait, back, full, budget.free()) == (0, SECOND / 10, 0, 2, 2)


async def test_whoever_waits_for_a_place_takes_the_first_that_is_free(opened: Opened) -> None:
    """The lane's own may be held by what hangs; and who stops waiting leaves no place taken."""
    box = await opened(mailer())
    pool, shared = box.relay.pool, asyncio.Semaphore(1)
    places, others = Places(pool, shared), Places(pool, shared)
    async with AsyncExitStack() as own, AsyncExitStack() as common, AsyncExitStack() as waited:
        await own.enter_async_context(places.connection())
        await common.enter_async_context(places.connection())
        gives_up = asyncio.create_task(waited.enter_async_context(places.connection()))
        waits = asyncio.create_task(waited.enter_async_context(places.connection()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gives_up.cancel()
        await common.aclose()
        async with asyncio.timeout(5):
            await waits
        both_taken = not places.free
        await own.aclose()
        async with places.connection(), others.connection():
            all_taken = not places.free and others._own.locked()
    async with others.connection(), others.connection():
        none_left = others.free

    assert (both_taken, all_taken, none_left, places.free) == (True, True, False, True)


async def test_handlers_that_hang_in_their_transactions_leave_the_others_connections(
    database: str, rows: Rows
) -> None:
    """P8: three of them want four connections each, and there are eight in all."""
    may_end, done = asyncio.Event(), asyncio.Event()
    seen = 0

    async def hang(message: Any, attempt: Attempt, conn: Any) -> Outcome:
        del message, attempt, conn
        await may_end.wait()
        return Done()

    async def write(message: Any, attempt: Attempt, conn: Any) -> Outcome:
        nonlocal seen
        await conn.execute("select 1")
        seen += 1
        if seen == 40:
            done.set()
        return await nothing(message, attempt)

    app = App("shop")
    for number in range(3):
        app.add(mailer(hang, name=f"stuck{number}", effect=Effect.DATABASE, batch_max=2))
    app.add(mailer(write, name="other", effect=Effect.DATABASE, batch_max=2))
    relay, stop = Relay(app, database, connections_max=8), asyncio.Event()
    async with relay.opened():
        with psycopg.connect(database) as conn:
            for number in range(40):
                publish(conn, OrderPlaced(order_id=number))
        work = asyncio.create_task(relay.run(stop))
        try:
            async with asyncio.timeout(15):
                await done.wait()
        finally:
            may_end.set()
            stop.set()
            await work

    assert rows("select count(*) from outbox.receipt where handler = 'other'") == [(40,)]


def test_too_few_connections_for_the_handlers_are_refused() -> None:
    app = App("shop")
    for number in range(3):
        app.add(mailer(name=f"mailer{number}"))
    with pytest.raises(UsageError, match="at least 5"):
        Relay(app, "postgresql://nowhere/x", connections_max=4)


async def test_a_hold_of_another_process_stops_what_is_claimed_and_has_not_begun(
    opened: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of one key is in hand; its second call is not made any more, and no attempt spent."""
    monkeypatch.setattr("outbox.calling.FRESH_SECONDS", 0.0)  # every claim is old
    monkeypatch.setattr("outbox.doors.FRESH_SECONDS", 0.0)
    calls = 0

    async def call(message: Any, attempt: Attempt) -> Outcome:
        nonlocal calls
        del message, attempt
        calls += 1
        async with other.relay.pool.connection() as conn:
            await queries_cluster.hold_destination(
                conn, handler="mailer", wait=60 * SECOND, reason="busy", now=other.clock.sql_now()
            )
        return Done()

    box = await opened(mailer(call, order=Order.KEYED))
    other = await opened(mailer(call, order=Order.KEYED))
    await orders(box, 3, key="one")
    await box.run_once()

    assert calls == 1
    assert rows("select lease_token is null, attempts from outbox.delivery") == [(True, 0)] * 2


async def test_a_hold_stops_the_calls_of_its_own_process_at_once(opened: Opened) -> None:
    calls = 0

    async def call(message: Any, attempt: Attempt) -> Outcome:
        nonlocal calls
        del message, attempt
        calls += 1
        raise DestinationHeld("busy", 60 * SECOND)

    box = await opened(mailer(call, concurrency=8))
    await orders(box, 8)
    await box.drain()

    assert calls == 1  # it fails before the next has begun
    assert (await box.census()).pending == 8


async def test_no_ambiguous_call_begins_once_its_destination_is_held(opened: Opened) -> None:
    """The guard is in the statement that notes the begin."""
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    await orders(box, 1)
    lease = await box.claim_one()
    async with box.relay.pool.connection() as conn:
        await queries_cluster.hold_destination(
            conn, handler="mailer", wait=60 * SECOND, reason="busy", now=box.clock.sql_now()
        )

    assert await box.begin(lease) == set()
