"""The commands that change something: migrate, relay, pause and resume; and what is configured."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from outbox import queries, redrive
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
from outbox.errors import ConfigurationError
from outbox.health import check_credentials
from outbox.readiness import check_history, connect, require_schema
from outbox.relay import Relay
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
    for history in histories:
        history.upgrade(dsn)
        typer.echo(
            f"{history.version_table_schema}.{history.version_table}: at {history.current(dsn)}"
        )
    asyncio.run(_register(dsn, app))


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


async def _register(dsn: str, app: App) -> None:
    async with await connect(dsn) as conn:
        await queries.register(conn, list(app.handlers), list(app.routes()))


@engine.command()
def relay(
    context: typer.Context,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is due.")] = False,
    only: Annotated[str | None, typer.Option("--only", help="Handlers, joined by commas.")] = None,
    transport: Annotated[
        str, typer.Option("--transport", help="inline: handlers run in this process.")
    ] = "inline",
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=64, help="How many processes.")
    ] = 1,
) -> None:
    """Deliver messages until told to stop; SIGTERM finishes what runs and gives leases back."""
    app = current_app(context)
    if transport != "inline":
        raise ConfigurationError(
            f"transport {transport!r} is not available in this version; use inline"
        )
    names = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    unknown = sorted((names or set()) - set(app.handlers))
    if unknown:
        raise ConfigurationError(
            f"no handler {', '.join(unknown)}; "
            f"there are {', '.join(sorted(app.handlers)) or 'none'}"
        )
    if not app.handlers:
        raise ConfigurationError(
            "the application has no handlers; name one with --app module:attribute"
        )
    if processes > 1:
        raise typer.Exit(_run_processes(processes))
    loaded = settings()
    tried = asyncio.run(
        _relay(app, loaded.required_database_url(), loaded.listen_url(), names, drain=drain)
    )
    if drain:
        typer.echo(f"{tried} deliveries tried; nothing is due", err=True)


async def _relay(
    app: App, dsn: str, listen: str | None, only: set[str] | None, *, drain: bool
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await require_schema(dsn)
    for history in app.histories:
        await check_history(history, dsn)
    worker = Relay(app, dsn, only=only, listen_dsn=listen)
    async with worker.opened():
        if drain:
            return await worker.drain(stop)
        await worker.run(stop)
        return 0


def _run_processes(count: int) -> int:
    """Run `count` relays as children; they end together. 0 when all ended well."""
    args = list(sys.argv[1:])
    place = next(i for i, arg in enumerate(args) if arg.startswith("--processes"))
    del args[place : place + (1 if "=" in args[place] else 2)]
    command = [sys.executable, "-m", "outbox", *args]
    children = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603 - our own command line

    def forward(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    codes = []
    for child in children:
        codes.append(child.wait())
        if codes[-1] != 0:
            for other in children:
                other.terminate()
    return FAILED if any(codes) else 0


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
    context: typer.Context, handler: str, actor: Annotated[str, typer.Option("--actor")]
) -> None:
    """Let claims for one handler go on."""
    _set_paused(context, handler, actor, "", paused=False)


def _set_paused(
    context: typer.Context, handler: str, actor: str, why: str, *, paused: bool
) -> None:
    app = current_app(context)

    async def act() -> bool:
        async with open_connection() as conn:
            if handler in app.handlers:  # also one that no relay has run yet
                await queries.register(conn, list(app.handlers), list(app.routes()))
            return await redrive.set_paused(
                conn, handler=handler, paused=paused, actor=actor, why=why
            )

    if not asyncio.run(act()):
        known = ", ".join(sorted(app.handlers)) or "none"
        raise ConfigurationError(f"there is no handler {handler!r}; there are {known}")
    typer.echo(f"{handler} is {'paused' if paused else 'resumed'}")


@engine.command()
def config(context: typer.Context) -> None:
    """Show the settings in force; of secrets only whether they are set."""
    app = current_app(context)
    typer.echo(f"application: {app.name}")
    for loaded in (settings(), *(load_settings(kind) for kind in app.settings)):
        for name, value in shown_settings(loaded):
            typer.echo(f"{name} = {value}")
