"""What the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.sagas.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def world(database: str) -> AsyncIterator[World]:
    """A world on a fresh database."""
    async with World.on(database) as world:
        yield world
