"""A harness on a real database with the shop's one table, emptied between tests."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog
from psycopg.rows import tuple_row
from typer.testing import CliRunner

from outbox.cli.frame import engine
from outbox.testing import OutboxHarness
from tests.outbox.shop import EFFECT_TABLE, made

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from typer.testing import Result

    from outbox import Handler
    from tests.conftest import Server

    Rows = Callable[..., list[tuple[Any, ...]]]
    Opened = Callable[..., Awaitable[OutboxHarness]]

# Emptied rather than made anew: a database costs half a second, and these tests are many.
_EMPTY = """
delete from effect; delete from outbox.saga_transition; delete from outbox.saga;
delete from outbox.unrouted; delete from outbox.dedup; delete from outbox.receipt;
delete from outbox.question; delete from outbox.redrive;
delete from outbox.lease; delete from outbox.key_lease; delete from outbox.newest;
delete from outbox.dead_letter; delete from outbox.delivery; delete from outbox.message;
delete from outbox.route; delete from outbox.destination; delete from outbox.relay;
delete from outbox.worker;
delete from outbox.destination_failure;
"""


@pytest.fixture(scope="session")
def shop_database(server: Server) -> Iterator[str]:
    """One migrated database for all of these tests."""
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(EFFECT_TABLE)
        yield dsn


@pytest.fixture
def database(shop_database: str) -> Iterator[str]:
    """The DSN of that database, with nothing in it."""
    yield shop_database
    with psycopg.connect(shop_database) as conn:
        conn.execute("set local synchronous_commit = off")
        conn.execute(_EMPTY)


@pytest.fixture
def rows(database: str) -> Iterator[Rows]:
    """Run one statement as somebody who looks from outside; its rows."""
    with psycopg.connect(database, autocommit=True, row_factory=tuple_row) as conn:

        def run(statement: Any, *params: object) -> list[tuple[Any, ...]]:
            cursor = conn.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def command_line() -> Iterator[Callable[..., Result]]:
    """Run a command of the engine in this process; the logs it set up go with it."""
    yield lambda app, *args: CliRunner().invoke(engine, args, obj=app)
    structlog.reset_defaults()


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Opened]:
    """Open harnesses over handlers on the test's database; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def opening(*handlers: Handler, **terms: Any) -> OutboxHarness:
            app = made(*handlers)
            return await stack.enter_async_context(OutboxHarness.opened(app, database, **terms))

        yield opening
