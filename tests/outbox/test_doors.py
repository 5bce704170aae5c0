"""P7 at the price of one look: who asks whether a destination may be called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from psycopg_pool import AsyncConnectionPool

from outbox.clock import SystemClock
from outbox.doors import Doors

if TYPE_CHECKING:
    import pytest


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
