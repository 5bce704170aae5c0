"""The engine's schema history: Alembic revisions whose content is reviewed SQL.

The version table is `outbox.revision`, so it never collides with another team's `alembic_version`.
`History` serves any package that keeps its revisions the same way.
"""

from __future__ import annotations

import io
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import ProgrammingError

from outbox.dsn import libpq_dsn, sqlalchemy_url
from outbox.errors import SchemaError, SchemaTooNew
from outbox.migrations.broken import drop_broken, indexes_built
from outbox.migrations.within import downgrade_within, make_schema, upgrade_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

HERE = Path(__file__).parent

TURN_SECONDS = 0.1
"""How long a deploy waits between two looks whether it is its turn."""


def execute_file(name: str, folder: Path = HERE / "sql") -> None:
    """Run one reviewed SQL file inside the current revision.

    What a broken-off run has left of an index that is built concurrently is dropped first.
    """
    script = (folder / name).read_text(encoding="utf-8")
    if op.get_context().as_sql:
        op.get_context().impl.static_output(script)  # as it is: `%` and `:` mean nothing here
        return
    # the driver takes several statements when there are no parameters
    with closing(op.get_bind().connection.cursor()) as cursor:
        for index in indexes_built(script):
            drop_broken(cursor, index)
        cursor.execute(script)


def run_environment(context: Any, *, version_table: str, version_table_schema: str) -> None:
    """What an `env.py` does here: one transaction per revision, a version table of one's own."""
    options: dict[str, Any] = {
        "version_table": version_table,
        "version_table_schema": version_table_schema,
        "transaction_per_migration": True,
    }
    connection: Connection | None = context.config.attributes.get("connection")
    if connection is None:
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
    else:
        make_schema(connection, version_table_schema)
        connection.commit()
        context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()


@dataclass(frozen=True, slots=True)
class History:
    """One chain of revisions in `folder`, its version table in the database."""

    folder: Path
    version_table: str
    version_table_schema: str

    def upgrade(self, dsn: str, revision: str = "head") -> None:
        """Bring the database at `dsn` to `revision`. Raises `SchemaTooNew` on an unknown one."""
        self._run(dsn, lambda config: command.upgrade(config, revision))

    def downgrade(self, dsn: str, revision: str) -> None:
        """Take the database at `dsn` down to `revision` (`base` for nothing)."""
        self._run(dsn, lambda config: command.downgrade(config, revision))

    def upgrade_within(self, revision: str) -> None:
        """Bring this history to `revision` inside the revision of another one that is running.

        On the connection and in the transaction of Alembic's `op`; what is there already is left
        as it is. Raises `SchemaError` where that cannot be.
        """
        upgrade_within(self, revision)

    def downgrade_within(self, revision: str) -> None:
        """Take it down to `revision` (`base` for nothing) in the same way."""
        downgrade_within(self, revision)

    def current(self, dsn: str) -> str | None:
        """The revision the database is at; None when it never had one."""
        engine = _engine(dsn)
        try:
            with engine.connect() as connection:
                return self.context_on(connection).get_current_revision()
        finally:
            engine.dispose()

    def head(self) -> str:
        """The newest revision this code knows."""
        head = self.scripts().get_current_head()
        assert head is not None, "a history has at least one revision"
        return head

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        return [script.revision for script in self.scripts().walk_revisions()]

    def sql(self, revision: str = "head") -> str:
        """The SQL that `upgrade` would run on an empty database."""
        config = self._config()
        config.output_buffer = buffer = io.StringIO()
        command.upgrade(config, revision, sql=True)
        return f"create schema if not exists {self.version_table_schema};\n\n{buffer.getvalue()}"

    def scripts(self) -> ScriptDirectory:
        """Alembic's view of the revisions."""
        return ScriptDirectory.from_config(self._config())

    def context_on(self, connection: Connection) -> MigrationContext:
        """What reads and writes the version table on `connection`, in its transaction."""
        return MigrationContext.configure(
            connection,
            opts={
                "version_table": self.version_table,
                "version_table_schema": self.version_table_schema,
            },
        )

    def _config(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        return config

    @contextmanager
    def _turn(self, dsn: str) -> Iterator[None]:
        """Wait until no other deploy is at this history; the second finds what the first has done.

        The lock is a connection's of its own, since a history is many transactions. It is tried and
        not waited for, by a statement without parameters: who waits inside a statement, or has a
        cursor open, keeps a snapshot, and an index built concurrently would wait for that.
        """
        digest = sha256(f"outbox {self.version_table_schema}".encode()).digest()
        take = f"select pg_try_advisory_xact_lock({int.from_bytes(digest[:8], signed=True)})"
        with psycopg.connect(libpq_dsn(dsn), prepare_threshold=None) as conn:
            while conn.execute(take.encode()).fetchone() != (True,):
                conn.rollback()
                time.sleep(TURN_SECONDS)
            yield

    def _run(self, dsn: str, action: Any) -> None:
        config = self._config()
        engine = _engine(dsn)
        try:
            with self._turn(dsn), engine.connect() as connection:
                found = self.context_on(connection).get_current_revision()
                connection.rollback()
                if found is not None and found not in self.known():
                    raise SchemaTooNew(found)
                config.attributes["connection"] = connection
                action(config)
        except (ProgrammingError, psycopg.errors.InsufficientPrivilege) as error:
            cause = error.orig if isinstance(error, ProgrammingError) else error
            if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
                raise
            raise SchemaError(
                "this role may not migrate (insufficient privilege); use one that owns the "
                "engine's tables and may create in the database"
            ) from error
        finally:
            engine.dispose()


def _engine(dsn: str) -> Engine:
    """One connection at a time, whose statements are prepared for no session: poolers change it."""
    return create_engine(
        sqlalchemy_url(dsn), poolclass=pool.NullPool, connect_args={"prepare_threshold": None}
    )


ENGINE = History(HERE, version_table="revision", version_table_schema="outbox")


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the engine's tables at `dsn` to `revision`."""
    ENGINE.upgrade(dsn, revision)


def downgrade(dsn: str, revision: str) -> None:
    """Take the engine's tables at `dsn` down to `revision`."""
    ENGINE.downgrade(dsn, revision)


def current(dsn: str) -> str | None:
    """The engine's revision in the database at `dsn`."""
    return ENGINE.current(dsn)
