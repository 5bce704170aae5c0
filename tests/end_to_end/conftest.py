"""What the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from handlers.ports import WEBHOOK
from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def channel() -> str:
    """The way to the portal; what holds for each of them is asked of each by its module."""
    return WEBHOOK


@pytest_asyncio.fixture
async def scene(database: str, channel: str) -> AsyncIterator[Scene]:
    """The whole application on a fresh database."""
    async with Scene.on(database, channel=channel) as scene:
        yield scene
