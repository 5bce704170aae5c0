"""Fixtures for pytest: `pytest_plugins = ["outbox.testing.plugin"]` in the topmost conftest.

A test suite defines `outbox_app`; the others follow from it. `DATABASE_URL` names the server to use
(with the right to create databases); without it an embedded one is started for the run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outbox.errors import UsageError
from outbox.migrations import ENGINE
from outbox.testing.databases import DatabaseServer
from outbox.testing.harness import OutboxHarness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outbox.app import App

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio, say, takes pytest's own
    async_fixture = pytest.fixture  # type: ignore[assignment]


@pytest.fixture(scope="session")
def outbox_server() -> Iterator[DatabaseServer]:
    """The server of the run, with its templates."""
    with DatabaseServer.found(os.environ.get("DATABASE_URL")) as server:
        yield server


@pytest.fixture
def outbox_app() -> App:
    """The application under test: define it, made with a `VirtualClock`."""
    problem = (
        "define a fixture outbox_app that returns your App, "
        "made with clock=VirtualClock(...) so that the test moves time"
    )
    raise UsageError(problem)


@pytest.fixture
def outbox_database(outbox_server: DatabaseServer, outbox_app: App) -> Iterator[str]:
    """The DSN of a database of the test's own, at the newest revision of engine and application."""
    with outbox_server.database(ENGINE, *outbox_app.histories) as dsn:
        yield dsn


@async_fixture
async def outbox(outbox_app: App, outbox_database: str) -> AsyncIterator[OutboxHarness]:
    """The application on that database, one step at a time: `publish`, `run_once`, `drain`."""
    async with OutboxHarness.opened(outbox_app, outbox_database) as harness:
        yield harness
