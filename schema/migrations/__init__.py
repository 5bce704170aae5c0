"""The application's schema history: thin Alembic revisions that run reviewed SQL.

It follows the engine's history and shares nothing with it: the version is kept in
`app.outbox_application_version`, out of the way of any other `alembic_version`. One call is one
transaction under an advisory lock: two deploys at once take turns, and a failure changes nothing.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool, text

from schema import shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

_HERE: Final = Path(__file__).parent
VERSION_TABLE: Final = "outbox_application_version"
VERSION_SCHEMA: Final = "app"
version_table, version_table_schema = VERSION_TABLE, VERSION_SCHEMA  # as a history is asked
_OURS: Final = "Functions of the application and the record of its migrations."


class SchemaNewerThanCode(Exception):
    """The database stands at a revision this code does not know: deploy newer code. Not retried."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the application's schema stands at revision {revision}, which this code does not "
            f"know; the newest it knows is {head()}"
        )
        self.revision = revision


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database at `dsn` to `revision`; a plain server is first given the shim.

    Raises `SchemaNewerThanCode`. On any error the database is as it was, but for the shim.
    """
    if shim.needed(dsn):
        shim.apply(dsn)
    with _locked(dsn) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(dsn: str, revision: str) -> None:
    """Take the database at `dsn` down to `revision`; `base` leaves nothing of the application's.

    Tables that existed before the first upgrade keep their rows and lose only what was added
    (MIG-4).
    """
    with _locked(dsn) as connection:
        command.downgrade(_config(connection), revision)
        if _revision_of(connection) is None:
            connection.execute(text(f"drop table if exists {VERSION_SCHEMA}.{VERSION_TABLE}"))
            if _schema_comment(connection) == _OURS:
                connection.execute(text(f"drop schema {VERSION_SCHEMA}"))


def current(dsn: str) -> str | None:
    """Return the revision the database at `dsn` stands at, None before the first."""
    with _connected(dsn) as connection:
        return _revision_of(connection)


def head() -> str:
    """Return the newest revision this code knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None  # a history without revisions is our own mistake
    return found


def known() -> list[str]:
    """Return every revision this code knows, the newest first."""
    return [one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()]


def sql(revision: str = "head") -> str:
    """Return the SQL of an upgrade from nothing to `revision`, for a reviewer to read and run."""
    config = _config()
    config.output_buffer = buffer = io.StringIO()
    command.upgrade(config, revision, sql=True)
    made = f"create schema {VERSION_SCHEMA};\ncomment on schema {VERSION_SCHEMA} is '{_OURS}';\n\n"
    return made + buffer.getvalue()


def indexes() -> list[str]:
    """The indexes and keys in schema public that the revisions make, by name, read from their SQL.

    Keys of tables that an app may have had before are left out: they may be called otherwise there.
    """
    text_of_all = re.sub(r"--[^\n]*", "", sql())
    found = set(re.findall(r"create (?:unique )?index (?:if not exists )?(\w+)", text_of_all))
    for body in re.findall(r"create table public\.\w+ \((.*?)\n\);", text_of_all, re.DOTALL):
        found |= set(re.findall(r"constraint (\w+)\s+(?:primary key|unique)\b", body))
    return sorted(found)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    # the driver reads the DSN: every form it takes is taken here
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=pool.NullPool
    )
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _locked(dsn: str) -> Iterator[Connection]:
    with _connected(dsn) as connection:
        connection.execute(
            text("select pg_advisory_xact_lock(hashtextextended('schema.migrations', 0))")
        )
        if connection.execute(text("select to_regnamespace('app') is null")).scalar_one():
            connection.execute(text(f"create schema {VERSION_SCHEMA}"))
            connection.execute(text(f"comment on schema {VERSION_SCHEMA} is '{_OURS}'"))
        found = _revision_of(connection)
        known = {
            script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()
        }
        if found is not None and found not in known:
            raise SchemaNewerThanCode(found)
        yield connection


def _revision_of(connection: Connection) -> str | None:
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": VERSION_SCHEMA}
    )
    return context.get_current_revision()


def _schema_comment(connection: Connection) -> str | None:
    found = connection.execute(text("select obj_description('app'::regnamespace, 'pg_namespace')"))
    comment: str | None = found.scalar_one()
    return comment
