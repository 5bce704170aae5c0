"""Labs of both kinds: what decides is the same, so every scenario runs on both."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeAlias

import pytest

from outbox.testing import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from outbox import App

    Opening: TypeAlias = Callable[[App], Awaitable[Lab]]


@pytest.fixture(params=["memory", "postgres"])
async def lab_of(request: pytest.FixtureRequest) -> AsyncIterator[Opening]:
    """Open a lab over an application, in memory or on the test's database."""
    async with AsyncExitStack() as stack:

        async def opening(app: App) -> Lab:
            if request.param == "memory":
                return await stack.enter_async_context(Lab.memory(app))
            dsn = request.getfixturevalue("database")
            return await stack.enter_async_context(Lab.postgres(app, dsn))

        yield opening
