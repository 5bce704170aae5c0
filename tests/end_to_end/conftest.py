"""What the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """The whole application on a fresh database."""
    async with Scene.on(database) as scene:
        yield scene
