"""P7 at the price of one look: who asks whether a destination may be called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from psycopg_pool import AsyncConnectionPool

from outbox import Attempt, Done, Effect, Outcome
from outbox.clock import SystemClock
from outbox.doors import Doors
from tests.outbox.shop import OrderPlaced, mailer

if TYPE_CHECKING:
    import pytest

    from tests.outbox.conftest import Opened, Rows


async def test_calls_that_waited_for_one_look_do_not_take_turns_after_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a batch in doubt makes one call per turn of the loop, and settles them by twos."""
    monkeypatch.setattr("outbox.doors.FRESH_SECONDS", 3600.0)
    asked: list[str] = []

    async def call(name: str) -> None:
        for _ in range(3):
            await doors.is_open("mailer", after=float("-inf"))
            asked.append(name)

    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(database, min_size=1, open=False)
    async with pool:
        doors = Doors(pool, SystemClock())
        async with asyncio.TaskGroup() as calls:
            for name in "abc":
                calls.create_task(call(name))

    assert asked == [*"aaa", *"bbb", *"ccc"]


async def test_a_call_does_not_begin_after_its_time_because_its_door_was_long_looked_at(
    opened: Opened, rows: Rows
) -> None:
    """Its lease might end first, and then somebody else calls as well (P4)."""
    called: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message
        called.append(attempt.delivery_id)
        return Done()

    box = await opened(mailer(call, effect=Effect.AMBIGUOUS))
    await box.publish(OrderPlaced(order_id=1))
    lane, loop = box.lane("mailer"), asyncio.get_running_loop()
    claimed = await lane.claims.claim(1)
    starts_by = loop.time() + 0.05
    lane.pace.stop_heard()  # somebody was told to wait: whoever was claimed before asks anew
    lane.pace.stop_told()
    assert lane.doors is not None
    await lane.doors._looking.acquire()
    loop.call_at(starts_by + 0.001, lane.doors._looking.release)
    await lane.run_batch(claimed, starts_by)

    assert called == []
    assert rows("select lease_token, begun_at, unknown_at from outbox.delivery") == [
        (None, None, None)
    ]
