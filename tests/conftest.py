"""The databases the tests run on: real ones, a fresh one for each test that asks.

`DATABASE_URL` names the server to use (any database of it, with the right to create others);
without it an embedded server is started for the run. Migrations are applied once, to a template.
"""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from outbox.embedded import EmbeddedServer, database_url_or_embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

# A database's answer takes as long as it takes; a loaded machine must not fail a property.
settings.register_profile(
    "database", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("database")

_HISTORIES: Final = ("outbox.migrations", "schema.migrations")
_run: Final = f"{os.getpid()}_{secrets.token_hex(3)}"  # several runs may share a server
_counter: Final = itertools.count(1)


@dataclass
class Server:
    """A PostgreSQL server to make databases on, with its migrated template once one was needed."""

    dsn: str
    _template: str | None = field(default=None, init=False)

    def dsn_of(self, dbname: str) -> str:
        """Return the server's DSN with another database in it."""
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{dbname}"))

    def create(self, *, template: str = "template0", word: str = "test") -> str:
        """Create a database and return its name."""
        name = f"outbox_{word}_{_run}_{next(_counter)}"
        statement = sql.SQL("create database {} template {} encoding 'UTF8'")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        # compiling a statement costs a server that can (not the embedded one) 400 times its run
        self._execute(sql.SQL("alter database {} set jit = off").format(sql.Identifier(name)))
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        statement = sql.SQL("drop database if exists {} with (force)")
        self._execute(statement.format(sql.Identifier(name)))

    def template(self) -> str:
        """Return the name of a database with both histories applied."""
        if self._template is None:
            name = self.create(word="template")
            try:
                for history in _HISTORIES:
                    import_module(history).upgrade(self.dsn_of(name))
            except BaseException:
                self.drop(name)
                raise
            self._template = name
        return self._template

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self.drop(self._template)

    @contextmanager
    def fresh(self, *, migrated: bool) -> Iterator[str]:
        """Yield the DSN of a database that lives as long as the block."""
        name = self.create(template=self.template() if migrated else "template0")
        try:
            yield self.dsn_of(name)
        finally:
            self.drop(name)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(statement)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of the run; an embedded one forgets what a power cut would cost."""
    with database_url_or_embedded(os.environ.get("DATABASE_URL"), durable=False) as dsn:
        found = Server(dsn)
        yield found
        found.close()


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
