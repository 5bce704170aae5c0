"""At every named point a crash costs a lease of delay and nothing else, in one process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outbox import App, Done, Effect, Handler, Message, Outcome, VirtualClock, apublish
from outbox.testing import CrashPoint, OutboxHarness, at_point, lease_taker

if TYPE_CHECKING:
    import psycopg

    from outbox import Attempt

POINTS = [
    point for point in CrashPoint if point not in {CrashPoint.BROKER_LOST, CrashPoint.LEASE_LOST}
]


class Sold(Message, topic="kit.sold"):
    """Something left the shop."""


class Booked(Message, topic="kit.booked"):
    """It is in the books."""


@pytest.fixture
def sent() -> list[str]:
    """What has left the process."""
    return []


@pytest.fixture
def outbox_app(sent: list[str]) -> App:
    async def book(message: Sold, attempt: Attempt, conn: psycopg.AsyncConnection[Any]) -> Outcome:
        del message, attempt
        await apublish(conn, Booked())
        return Done()

    async def send(message: Sold, attempt: Attempt) -> Outcome:
        del message
        sent.append(attempt.handler)
        return Done()

    app = App("kit", clock=VirtualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    for name, effect in (
        ("book", Effect.DATABASE), ("tell", Effect.IDEMPOTENT), ("push", Effect.AMBIGUOUS)
    ):  # fmt: skip
        call = book if effect is Effect.DATABASE else send
        app.add(Handler(name=name, messages=(Sold,), effect=effect, call=call))
    return app


@pytest.mark.parametrize("handler", ["book", "tell", "push"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_costs_a_lease_of_delay(
    point: CrashPoint, handler: str, outbox: OutboxHarness, sent: list[str]
) -> None:
    if point is CrashPoint.AFTER_BEGUN and handler != "push":
        pytest.skip("only ambiguous calls are noted as begun")
    await outbox.publish(Sold())

    async with outbox.crash_at(point, handler=handler):
        await outbox.run_once(handler)
    outbox.advance(timedelta(minutes=1))
    await outbox.drain()

    census = await outbox.census(handler)
    begun = point in {
        CrashPoint.AFTER_BEGUN, CrashPoint.AFTER_CALL, CrashPoint.BEFORE_SETTLE_COMMIT
    }  # fmt: skip
    unknown = int(begun and handler == "push")
    assert (census.done, census.unknown, census.pending + census.leased) == (
        1 - unknown,
        unknown,
        0,
    )
    await outbox.assert_published(Booked, count=1)
    assert sent.count("push") == (1 - unknown * (point is CrashPoint.AFTER_BEGUN))
    assert sent.count("tell") >= 1


async def test_who_lost_the_lease_writes_nothing(
    outbox: OutboxHarness, outbox_database: str
) -> None:
    await outbox.publish(Sold())

    with (
        at_point(CrashPoint.AFTER_CALL, lease_taker(outbox_database, "book"), handler="book"),
        at_point(CrashPoint.LEASE_LOST, lambda: None, handler="book") as lost,
    ):
        await outbox.run_once("book")

    assert lost.reached == 1
    assert (await outbox.census("book")).leased == 1
    await outbox.refute_published(Booked)


async def test_a_point_that_is_never_reached_fails_the_test(outbox: OutboxHarness) -> None:
    with pytest.raises(AssertionError, match="after_begun was never reached by book"):
        async with outbox.crash_at(CrashPoint.AFTER_BEGUN, handler="book"):
            await outbox.drain()
