"""The commands that change something: migrate, pause and resume; and what is configured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from outbox import queries_cluster, redrive
from outbox.cli.frame import (
    FAILED,
    AsJson,
    current_app,
    engine,
    open_connection,
    out,
    print_json,
    settings,
)
from outbox.errors import ConfigurationError, SchemaError
from outbox.health import check_credentials
from outbox.readiness import connect
from outbox.settings import load_settings, shown_settings

if TYPE_CHECKING:
    from outbox.app import App


@engine.command()
def migrate(
    context: typer.Context,
    down: Annotated[
        str | None, typer.Option("--down", help="Go down to this revision ('base' removes all).")
    ] = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead of running it.")
    ] = False,
) -> None:
    """Bring the database up to this version: the engine's tables, then the application's."""
    from outbox.migrations import ENGINE  # noqa: PLC0415 - Alembic is slow to import

    app = current_app(context)
    histories = (ENGINE, *app.histories)
    if sql:
        for history in histories:
            typer.echo(history.sql())
        return
    dsn = settings().required_database_url()
    asyncio.run(_reach(dsn))
    if down is not None:
        _migrate_down(dsn, app, down)
        return
    ours: set[str] = set()
    for history in histories:
        history.upgrade(dsn)
        typer.echo(
            f"{history.version_table_schema}.{history.version_table}: at {history.current(dsn)}"
        )
        ours = ours or asyncio.run(_tables(dsn))  # what stands there after the engine's own
    asyncio.run(_register(dsn, app))
    if strange := sorted(asyncio.run(_tables(dsn)) - ours):
        raise SchemaError(
            f"the application's history made {', '.join(strange)} in schema 'outbox', which is the "
            "engine's and may be changed or dropped by it; move them to a schema of your own"
        )


def _migrate_down(dsn: str, app: App, revision: str) -> None:
    from outbox.migrations import ENGINE  # noqa: PLC0415 - Alembic is slow to import

    for history in (*reversed(app.histories), ENGINE):
        if revision == "base" or revision in history.known():
            history.downgrade(dsn, revision)
            typer.echo(
                f"{history.version_table_schema}.{history.version_table}: "
                f"at {history.current(dsn) or 'nothing'}"
            )
            if revision != "base":
                return
    if revision != "base":
        raise ConfigurationError(f"no history has a revision {revision!r}")


async def _reach(dsn: str) -> None:
    async with await connect(dsn):
        pass


async def _tables(dsn: str) -> set[str]:
    async with await connect(dsn) as conn:
        return await queries_cluster.engine_tables(conn)


async def _register(dsn: str, app: App) -> None:
    async with await connect(dsn) as conn:
        await queries_cluster.register(conn, app)


@engine.command()
def health(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the credentials of every handler that has some; exit 1 if one fails."""
    app = current_app(context)
    checks = asyncio.run(check_credentials(app, settings().required_database_url()))
    fine = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": fine, "checks": checks})
    for check in () if as_json else checks:
        hint = f" ({check.hint})" if check.hint else ""
        out().print(
            f"{check.handler}: {'ok' if check.ok else f'{check.outcome}: {check.reason}'}{hint}"
        )
    if not checks and not as_json:
        out().print("no handler has credentials to check")
    if not fine:
        raise typer.Exit(FAILED)


@engine.command()
def pause(
    context: typer.Context,
    handler: str,
    why: Annotated[str, typer.Option("--why", help="Shown to whoever asks.")],
    actor: Annotated[str, typer.Option("--actor", help="Who pauses.")],
) -> None:
    """Stop claims for one handler, in every process, until it is resumed."""
    _set_paused(context, handler, actor, why, paused=True)


@engine.command()
def resume(
    context: typer.Context,
    handler: str,
    actor: Annotated[str, typer.Option("--actor", help="Who resumes.")],
    why: Annotated[str, typer.Option("--why", help="Kept in the audit.")] = "",
) -> None:
    """Let claims for one handler go on."""
    _set_paused(context, handler, actor, why, paused=False)


def _set_paused(
    context: typer.Context, handler: str, actor: str, why: str, *, paused: bool
) -> None:
    app = current_app(context)

    async def act() -> bool:
        async with open_connection() as conn:
            if handler in app.handlers:  # also one that no relay has run yet
                await queries_cluster.register(conn, app)
            return await redrive.set_paused(
                conn, handler=handler, paused=paused, actor=actor, why=why
            )

    if not asyncio.run(act()):
        known = ", ".join(sorted(app.handlers)) or "none"
        raise ConfigurationError(f"there is no handler {handler!r}; there are {known}")
    typer.echo(f"{handler} is {'paused' if paused else 'resumed'}")


@engine.command()
def roles(
    prefix: Annotated[str, typer.Option("--prefix", help="How the roles' names begin.")] = "outbox",
) -> None:
    """Print the SQL of the roles publisher, relay and reader, for a DBA to run after `migrate`."""
    from outbox.roles import script  # noqa: PLC0415 - only this command needs it

    for statement in script(prefix):
        typer.echo(f"{statement};")


@engine.command()
def adopt(
    context: typer.Context,
    handlers: list[str],
    owner: Annotated[str, typer.Option("--from", help="The application they belong to.")],
) -> None:
    """Take handlers over from another application: the one this was before it was renamed."""
    app = current_app(context)
    unknown = sorted(set(handlers) - set(app.handlers))
    if unknown:
        raise ConfigurationError(
            f"application {app.name!r} has no handler {', '.join(unknown)}; "
            f"there are {', '.join(sorted(app.handlers)) or 'none'}"
        )

    async def act() -> list[str]:
        async with open_connection() as conn:
            return await queries_cluster.adopt_handlers(
                conn, handlers=handlers, owner=owner, application=app.name
            )

    adopted = asyncio.run(act())
    if not adopted:
        raise ConfigurationError(f"none of {', '.join(handlers)} belongs to application {owner!r}")
    typer.echo(f"{', '.join(adopted)}: now of application {app.name!r}")


@engine.command()
def config(context: typer.Context) -> None:
    """Show the settings in force; of secrets only whether they are set."""
    app = current_app(context)
    typer.echo(f"application: {app.name}")
    for loaded in (settings(), *(load_settings(kind) for kind in app.settings)):
        for name, value in shown_settings(loaded):
            typer.echo(f"{name} = {value}")
