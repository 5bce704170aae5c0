"""The databases the tests run on: real ones, a fresh one for each test that asks.

`DATABASE_URL` names the server to use (any database of it, with the right to create others);
without it an embedded server is started for the run. Migrations are applied once, to a template.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import outbox.migrations
import schema.migrations
from outbox.embedded import EmbeddedServer
from outbox.testing.databases import DatabaseServer
from tests.network import keep_on_this_machine
from tests.order import longest_first

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["outbox.testing.plugin"]

keep_on_this_machine()

# A shell makes what it starts in the background deaf to interrupts, and so its children: those that
# tests interrupt would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A database's answer takes as long as it takes; a loaded machine must not fail a property.
settings.register_profile(
    "database", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("database")


class Server(DatabaseServer):
    """The kit's server, for databases with both histories."""

    def template(self) -> str:
        """Return the name of a database with both histories applied."""
        return self.template_of(outbox.migrations, schema.migrations)

    @contextmanager
    def fresh(self, *, migrated: bool) -> Iterator[str]:
        """Yield the DSN of a database that lives as long as the block."""
        histories = (outbox.migrations, schema.migrations) if migrated else ()
        with self.database(*histories) as dsn:
            yield dsn


@pytest.hookimpl(trylast=True)  # after the order was drawn
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, begin with what takes long."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of the run; an embedded one forgets what a power cut would cost."""
    with Server.found(os.environ.get("DATABASE_URL")) as found:
        yield found


@pytest.fixture(scope="session")
def outbox_server(server: Server) -> DatabaseServer:
    """The kit's fixtures make their databases on the same server."""
    return server


@pytest.fixture(scope="session")
def durable_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that syncs what it commits, for tests marked `durable`."""
    if os.environ.get("DATABASE_URL"):
        yield request.getfixturevalue("server")
        return
    with EmbeddedServer.start(durable=True) as embedded:
        found = Server(embedded.dsn())
        yield found
        found.close()


@pytest.fixture(scope="session")
def server_dsn(server: Server) -> str:
    """A maintenance DSN of the run's server, with the right to create databases."""
    return server.dsn


@pytest.fixture(scope="session")
def template_database(server: Server) -> str:
    """The name of the database with both migration histories applied. Do not connect to it."""
    return server.template()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a fresh, migrated database; on a syncing server if marked `durable`."""
    with _server_for(request).fresh(migrated=True) as dsn:
        yield dsn


@pytest.fixture
def empty_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a fresh database with nothing in it."""
    with _server_for(request).fresh(migrated=False) as dsn:
        yield dsn


def _server_for(request: pytest.FixtureRequest) -> Server:
    durable = request.node.get_closest_marker("durable") is not None
    found = request.getfixturevalue("durable_server" if durable else "server")
    assert isinstance(found, Server)
    return found
