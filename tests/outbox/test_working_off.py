"""A drain whose batches overlap: no slot of a handler waits for a slow call or a settlement."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from outbox import Done, Effect, Order, Relay
from outbox.lane import Lane
from outbox.working_off import end_all
from tests.outbox.shop import OrderPlaced, made, mailer, nothing

if TYPE_CHECKING:
    from outbox import Attempt, Outcome
    from tests.outbox.conftest import Opened, Rows


async def test_a_slot_that_is_free_is_filled_while_a_call_of_its_batch_still_runs(
    opened: Opened, rows: Rows
) -> None:
    """Two slots, three messages: the second call ends only once the third has begun."""
    third_begun = asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        if message.order_id == 3:
            third_begun.set()
        if message.order_id == 2:
            await third_begun.wait()
        return Done()

    box = await opened(mailer(call, concurrency=2))
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number))
    async with asyncio.timeout(15):
        tried = await box.relay.drain(overlapping=True)

    assert tried == 3
    assert rows("select count(*) from outbox.receipt") == [(3,)]


@pytest.mark.parametrize("how", ["drain", "daemon"])
async def test_few_free_slots_are_filled_though_most_calls_hang(
    how: str, opened: Opened, rows: Rows
) -> None:
    """Seven of ten hang until the last of twelve has begun, in a drain and in the daemon."""
    last_begun, stop = asyncio.Event(), asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        if message.order_id == 12:
            last_begun.set()
        if message.order_id <= 7:
            await last_begun.wait()
        return Done()

    box = await opened(mailer(call, concurrency=10))
    for number in range(1, 13):
        await box.publish(OrderPlaced(order_id=number))
    async with asyncio.timeout(15):
        if how == "drain":
            await box.relay.drain(overlapping=True)
        else:
            work = asyncio.create_task(box.relay.run(stop))
            await last_begun.wait()
            stop.set()
            await work

    assert rows("select count(*) from outbox.receipt") == [(12,)]


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("order", [Order.NONE, Order.KEYED])
async def test_everything_is_worked_off_and_counted(
    effect: Effect, order: Order, opened: Opened, rows: Rows
) -> None:
    async def inside(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        del conn
        return await nothing(message, attempt)

    call = inside if effect is Effect.DATABASE else nothing
    box = await opened(mailer(call, effect=effect, order=order, batch_max=4, concurrency=4))
    for number in range(30):
        await box.publish(OrderPlaced(order_id=number), key=f"order:{number % 7}")

    assert await box.relay.drain(overlapping=True) == 30
    assert rows("select count(*), count(distinct delivery_id) from outbox.receipt") == [(30, 30)]
    assert (await box.census()).pending == 0


async def test_what_has_begun_is_ended_when_it_is_stopped(opened: Opened, rows: Rows) -> None:
    stop = asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        stop.set()
        await asyncio.sleep(0)
        return Done()

    box = await opened(mailer(call, concurrency=2))
    for number in range(6):
        await box.publish(OrderPlaced(order_id=number))

    assert await box.relay.drain(stop, overlapping=True) == 2
    assert rows("select count(*) from outbox.receipt") == [(2,)]
    assert rows("select count(*) from outbox.delivery where lease_token is not null") == [(0,)]


async def test_a_batch_that_fails_fails_the_drain_and_cancels_the_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be settled must not be taken for worked off."""
    cancelled = asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        if message.order_id == 2:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return Done()

    box = await opened(mailer(call, concurrency=2))
    lane = box.lane("mailer")
    run_batch, claims = type(lane).run_batch, [True, False]  # the second claim's batch fails

    async def broken(self: Any, *batch: Any, **more: Any) -> None:
        if claims.pop():
            raise ConnectionError("gone")
        await run_batch(self, *batch, **more)

    monkeypatch.setattr(type(lane), "run_batch", broken)
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number))
    async with asyncio.timeout(15):
        with pytest.raises(ConnectionError, match="gone"):
            await box.relay.drain(overlapping=True)

    assert cancelled.is_set()


@pytest.mark.parametrize("overlapping", [False, True])
async def test_a_handler_that_fails_a_drain_leaves_no_call_of_another_behind(
    overlapping: bool,  # noqa: FBT001 - a parameter of the test
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever called it closes what the calls stand on."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Done()

    box = await opened(mailer(call), mailer(name="ledger"))
    run_batch = Lane.run_batch

    async def broken(self: Lane, *batch: Any, **more: Any) -> None:
        if self.handler.name == "ledger":
            await begun.wait()
            raise ConnectionError("gone")
        await run_batch(self, *batch, **more)

    monkeypatch.setattr(Lane, "run_batch", broken)
    await box.publish(OrderPlaced(order_id=1))
    before = asyncio.all_tasks()
    async with asyncio.timeout(15):
        with pytest.raises(ConnectionError, match="gone"):
            await box.relay.drain(overlapping=overlapping)

    assert ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_relay_that_is_cancelled_leaves_no_call_behind(database: str, rows: Rows) -> None:
    """Nor one that ends by a failure: what its calls stand on is closed next."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Done()

    relay = Relay(made(mailer(call)), database)
    async with relay.opened(), asyncio.timeout(30):
        rows("""select outbox.publish('order.placed', '{"order_id": 1}')""")
        before = asyncio.all_tasks()
        running = asyncio.create_task(relay.run(asyncio.Event()))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert ended.is_set()
        assert not {one for one in asyncio.all_tasks() - before if "_work" in repr(one)}


async def test_what_is_cancelled_before_it_began_lets_go_of_what_was_opened_for_it() -> None:
    """A batch holds a place at the gate, and may hold a transaction, before its task begins."""
    left: list[int] = []

    async def run(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(number)

    await end_all([asyncio.create_task(run(number)) for number in range(3)])

    assert sorted(left) == [0, 1, 2]
