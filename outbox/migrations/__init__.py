"""The engine's schema history: Alembic revisions whose content is reviewed SQL.

The version table is `outbox.revision`, so it never collides with another team's `alembic_version`.
`History` serves any package that keeps its revisions the same way.
"""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool, text

from outbox.dsn import sqlalchemy_url
from outbox.errors import SchemaTooNew

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

HERE = Path(__file__).parent


def execute_file(name: str, folder: Path = HERE / "sql") -> None:
    """Run one reviewed SQL file inside the current revision."""
    script = (folder / name).read_text(encoding="utf-8")
    if op.get_context().as_sql:
        op.get_context().impl.static_output(script)  # as it is: `%` and `:` mean nothing here
        return
    # the driver takes several statements when there are no parameters
    with closing(op.get_bind().connection.cursor()) as cursor:
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
        connection.execute(text(f"create schema if not exists {version_table_schema}"))
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

    def current(self, dsn: str) -> str | None:
        """The revision the database is at; None when it never had one."""
        engine = create_engine(sqlalchemy_url(dsn), poolclass=pool.NullPool)
        try:
            with engine.connect() as connection:
                return self._current(connection)
        finally:
            engine.dispose()

    def head(self) -> str:
        """The newest revision this code knows."""
        head = ScriptDirectory.from_config(self._config()).get_current_head()
        assert head is not None, "a history has at least one revision"
        return head

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        return [
            script.revision
            for script in ScriptDirectory.from_config(self._config()).walk_revisions()
        ]

    def sql(self, revision: str = "head") -> str:
        """The SQL that `upgrade` would run on an empty database."""
        config = self._config()
        config.output_buffer = buffer = io.StringIO()
        command.upgrade(config, revision, sql=True)
        return f"create schema if not exists {self.version_table_schema};\n\n{buffer.getvalue()}"

    def _current(self, connection: Connection) -> str | None:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": self.version_table,
                "version_table_schema": self.version_table_schema,
            },
        )
        return context.get_current_revision()

    def _config(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        return config

    def _run(self, dsn: str, action: Any) -> None:
        config = self._config()
        engine = create_engine(sqlalchemy_url(dsn), poolclass=pool.NullPool)
        try:
            with engine.connect() as connection:
                found = self._current(connection)
                connection.rollback()
                if found is not None and found not in self.known():
                    raise SchemaTooNew(found)
                config.attributes["connection"] = connection
                action(config)
        finally:
            engine.dispose()


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
