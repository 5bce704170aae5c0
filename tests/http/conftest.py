"""What the tests of this folder share."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import structlog

from outbox.logs import configure_logs
from tests.http.front import Front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest_asyncio.fixture
async def front(database: str) -> AsyncIterator[Front]:
    """The surface on a fresh database."""
    async with Front.of(database) as front:
        yield front


@pytest.fixture
def production_logs() -> Iterator[io.StringIO]:
    """Log lines as a process writes them."""
    before, lines = structlog.get_config(), io.StringIO()
    configure_logs(form="json")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=lines))
    yield lines
    structlog.configure(**before)
