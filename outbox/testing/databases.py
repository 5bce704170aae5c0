"""Databases for tests: real ones, a fresh one for each test that asks, migrated by a template."""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

from outbox.embedded import database_url_or_embedded

_run: Final = f"{os.getpid()}_{secrets.token_hex(3)}"  # several runs may share a server
_counter: Final = itertools.count(1)


class Upgrades(Protocol):
    """What brings a database to its newest revision: a schema history, or a module of one."""

    def upgrade(self, dsn: str) -> None:
        """Bring the database at `dsn` to the newest revision."""
        ...


@dataclass
class DatabaseServer:
    """A PostgreSQL server to make databases on. Migrations run once, to a template that is copied.

    `dsn` names any database of it, with the right to create others.
    """

    dsn: str
    _templates: dict[tuple[Upgrades, ...], str] = field(default_factory=dict, init=False)

    @classmethod
    @contextmanager
    def found(cls, url: str | None = None) -> Iterator[Self]:
        """The server at `url`, or an embedded one for as long as the block lasts.

        The embedded one forgets what a power cut would cost; its templates go with the block.
        """
        with database_url_or_embedded(url, durable=False) as dsn:
            server = cls(dsn)
            try:
                yield server
            finally:
                server.close()

    def dsn_of(self, dbname: str) -> str:
        """The server's DSN with another database in it."""
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{dbname}"))

    def create(self, *, template: str = "template0", word: str = "test") -> str:
        """Create a database; its name."""
        name = f"outbox_{word}_{_run}_{next(_counter)}"
        create = sql.SQL("create database {} template {} encoding 'UTF8'")
        # compiling a statement costs a server that can (not the embedded one) 400 times its run
        settings = sql.SQL("alter database {} set jit = off")
        self._execute(
            create.format(sql.Identifier(name), sql.Identifier(template)),
            settings.format(sql.Identifier(name)),
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        statement = sql.SQL("drop database if exists {} with (force)")
        self._execute(statement.format(sql.Identifier(name)))

    def template_of(self, *histories: Upgrades) -> str:
        """The name of a database with `histories` applied in their order. Do not connect to it."""
        if histories not in self._templates:
            name = self.create(word="template")
            try:
                for history in histories:
                    history.upgrade(self.dsn_of(name))
            except BaseException:
                self.drop(name)
                raise
            self._templates[histories] = name
        return self._templates[histories]

    @contextmanager
    def database(self, *histories: Upgrades) -> Iterator[str]:
        """The DSN of a database that lives as long as the block; empty without `histories`."""
        template = self.template_of(*histories) if histories else "template0"
        name = self.create(template=template)
        try:
            yield self.dsn_of(name)
        finally:
            self.drop(name)

    def close(self) -> None:
        """Drop the templates."""
        while self._templates:
            self.drop(self._templates.popitem()[1])

    def _execute(self, *statements: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)
