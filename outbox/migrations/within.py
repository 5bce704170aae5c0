"""One history's revisions inside another's: for teams that keep all tables in one of their own.

A nested `alembic.command.upgrade` would not do: it takes `op` away from the revision that is
running. So the revisions are called as they are, in the `op` of their caller, and each one's line
is written to the version table that `outbox migrate` and relays read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import op
from sqlalchemy import text

from outbox.errors import SchemaError, SchemaTooNew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alembic.script import Script, ScriptDirectory
    from sqlalchemy.engine import Connection

    from outbox.migrations import History


def make_schema(connection: Connection, name: str) -> None:
    """Make a schema that is missing; who may not create schemas is given one."""
    if connection.execute(text(f"select to_regnamespace('{name}') is null")).scalar_one():
        connection.execute(text(f"create schema {name}"))


def upgrade_within(history: History, revision: str) -> None:
    """Bring `history` to `revision` in the running revision of another history."""
    scripts, found = _ready(history)
    wanted = _known(scripts, revision)
    waiting = [one for one in _chain(scripts, "base", wanted) if one not in _done(scripts, found)]
    _walk(history, waiting, lambda script: (script.module.upgrade, script.revision))


def downgrade_within(history: History, revision: str) -> None:
    """Take `history` down to `revision` in the running revision of another history."""
    scripts, found = _ready(history)
    kept = set() if revision == "base" else set(_done(scripts, _known(scripts, revision)))
    leaving = [one for one in reversed(_done(scripts, found)) if one not in kept]
    _walk(history, leaving, lambda script: (script.module.downgrade, script.down_revision))


def _ready(history: History) -> tuple[ScriptDirectory, str | None]:
    """The revisions, and where the database is. Raises `SchemaError` where they cannot run."""
    context = op.get_context()
    if context.as_sql:
        raise SchemaError(
            "what is to be run depends on what the database has, so `alembic upgrade --sql` cannot "
            "print it; `outbox migrate --sql` prints the engine's own part"
        )
    if getattr(context, "_in_external_transaction", False):
        raise SchemaError(
            "env.py has opened a transaction before context.configure, and an index that is built "
            "concurrently must be outside of one; give configure a connection from "
            "`engine.connect()` and transaction_per_migration=True"
        )
    connection = op.get_bind()
    make_schema(connection, history.version_table_schema)
    found = history.context_on(connection).get_current_revision()
    if found is not None and found not in history.known():
        raise SchemaTooNew(found)
    return history.scripts(), found


def _known(scripts: ScriptDirectory, revision: str) -> str:
    known = [one.revision for one in scripts.walk_revisions()]
    if revision == "head":
        return known[0]
    if revision not in known:
        raise SchemaError(f"there is no revision {revision!r}; there are {', '.join(known[::-1])}")
    return revision


def _chain(scripts: ScriptDirectory, base: str, head: str) -> list[Script]:
    """The revisions up to `head`, the oldest first."""
    return [*scripts.walk_revisions(base, head)][::-1]


def _done(scripts: ScriptDirectory, found: str | None) -> list[Script]:
    return [] if found is None else _chain(scripts, "base", found)


def _walk(
    history: History,
    steps: Sequence[Script],
    way: Callable[[Script], tuple[Callable[[], None], Any]],
) -> None:
    """Take each step, and note where that leads in the same transaction.

    A step outside of a transaction commits those before it, with their notes. Each is found done by
    who comes again after a crash.
    """
    for script in steps:
        step, leads_to = way(script)
        given = op.get_bind().execute(text("show lock_timeout")).scalar_one()
        step()
        connection = op.get_bind()  # another one where the step was outside of a transaction
        history.context_on(connection).stamp(history.scripts(), leads_to or "base")
        connection.execute(
            text("select set_config('lock_timeout', :given, true)"), {"given": given}
        )
