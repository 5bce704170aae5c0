"""The command line: the engine's commands, and those the application adds.

Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration. With `--json` stdout holds one JSON
document and nothing else; logs go to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from outbox import inspection, redrive
from outbox.app import App
from outbox.errors import ConfigurationError, OutboxError, UsageError
from outbox.explain import explain
from outbox.health import check_credentials
from outbox.logs import configure_logs
from outbox.readiness import check_revision, connect
from outbox.relay import Relay
from outbox.saga import queries as saga_queries
from outbox.settings import EngineSettings, find_app, load_settings, shown_settings

FAILED, USAGE = 1, 2

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

engine = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sagas = typer.Typer(no_args_is_help=True, help="Look at saga instances.")
engine.add_typer(sagas, name="saga")


def out() -> Console:
    """The console on stdout, as wide as the terminal or a report line."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140, highlight=False)


def print_json(document: Any) -> None:
    """Print one JSON document; dataclasses become objects, times ISO 8601."""
    typer.echo(json.dumps(document, default=_jsonable, ensure_ascii=False, indent=2))


def settings() -> EngineSettings:
    """The engine's settings. Raises `ConfigurationError`."""
    loaded: EngineSettings = load_settings(EngineSettings)
    return loaded


def current_app(context: typer.Context) -> App:
    """The application this invocation works on."""
    found: App = context.find_root().obj
    return found


@contextlib.asynccontextmanager
async def open_connection() -> AsyncIterator[Any]:
    """A checked connection to the configured database, closed at the end; commits on success."""
    async with await connect(settings().required_database_url()) as conn:
        await check_revision(conn)
        await conn.commit()
        yield conn


@engine.callback()
def options(
    app: Annotated[
        str | None, typer.Option("--app", help="module:attribute of the application.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="One log line per attempt.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """A transactional outbox and saga engine on PostgreSQL."""
    del app  # read before the commands were put together
    configure_logs(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)


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
    """Bring the database's schema up to this version: the engine's tables, then the application's."""
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
                f"{history.version_table_schema}.{history.version_table}: at {history.current(dsn) or 'nothing'}"
            )
            if revision != "base":
                return
    if revision != "base":
        raise ConfigurationError(f"no history has a revision {revision!r}")


async def _reach(dsn: str) -> None:
    async with await connect(dsn):
        pass


async def _register(dsn: str, app: App) -> None:
    from outbox import queries  # noqa: PLC0415 - beside its only use here

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
            f"no handler {', '.join(unknown)}; there are {', '.join(sorted(app.handlers)) or 'none'}"
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
    worker = Relay(app, dsn, only=only, listen_dsn=listen)
    async with worker.opened():
        if drain:
            return await worker.drain()
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
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Depth, age and state of every handler, relays seen, messages without a route."""
    document = asyncio.run(_status(current_app(context)))
    if as_json:
        print_json(document)
        return
    table = Table(title="deliveries")
    for name in (
        "handler",
        "pending",
        "leased",
        "unknown",
        "dead",
        "done",
        "overtaken",
        "oldest due",
        "destination",
    ):
        table.add_column(name, justify="left" if name in {"handler", "destination"} else "right")
    for row in document["handlers"]:
        cells = [
            row[name] for name in ("pending", "leased", "unknown", "dead", "done", "overtaken")
        ]
        table.add_row(
            row["handler"], *map(str, cells), str(row["oldest_due_at"] or "-"), row["destination"]
        )
    out().print(table)
    for one in document["relays"]:
        out().print(f"relay {one['id']}: seen {one['unseen_seconds']} s ago")
    if not document["relays"]:
        out().print("no relay is running; start one with `outbox relay`")
    for one in document["unrouted"]:
        out().print(f"unrouted: {one['parked']} messages of {one['topic']} since {one['since']}")


async def _status(app: App) -> dict[str, Any]:
    async with open_connection() as conn:
        now = app.clock.sql_now()
        states = {one.handler: one for one in await inspection.destinations(conn)}
        handlers = [
            {**asdict(row), "destination": describe_destination(states.get(row.handler))}
            for row in await inspection.census(conn, now=now)
        ]
        relays = [
            {
                "id": one.id,
                "unseen_seconds": int(one.unseen_for.total_seconds()),
                "handlers": one.handlers,
            }
            for one in await inspection.relays(conn)
        ]
        return {
            "handlers": handlers,
            "relays": relays,
            "unrouted": [asdict(one) for one in await inspection.unrouted(conn)],
        }


def describe_destination(state: inspection.DestinationState | None) -> str:
    """One phrase for a destination's state."""
    if state is None:
        return "not registered"
    if state.paused_at is not None:
        return f"paused by {state.paused_by}: {state.paused_why}"
    if state.circuit_opened_at is not None:
        return f"credentials rejected ({state.circuit_reason})"
    if state.held_until is not None:
        return f"held until {state.held_until:%H:%M:%S} ({state.held_reason})"
    return "open"


@engine.command(name="explain")
def explain_command(context: typer.Context, delivery_id: int, as_json: AsJson = False) -> None:
    """Say why one delivery waits, or how it ended."""

    async def find() -> Any:
        async with open_connection() as conn:
            app = current_app(context)
            return await explain(conn, app, delivery_id, now=app.clock.sql_now())

    found = asyncio.run(find())
    if found is None:
        raise OutboxError(
            f"there is no delivery {delivery_id}, and no receipt of one; `outbox status` shows what there is"
        )
    if as_json:
        print_json(found)
        return
    out().print(f"delivery {delivery_id}: {found.state} - {found.reason}")
    handler = current_app(context).handlers.get(str(found.facts.get("handler", "")))
    if handler is not None:
        out().print(f"handler {handler.name} ({handler.effect}): {handler.retry.describe()}")
    for receipt in found.receipts:
        reason = f" ({receipt['reason']})" if receipt["reason"] else ""
        out().print(
            f"  {receipt['settled_at']:%Y-%m-%d %H:%M:%S} attempt {receipt['attempt']}: {receipt['outcome']}{reason}"
        )


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
    async def act() -> bool:
        async with open_connection() as conn:
            return await redrive.set_paused(
                conn, handler=handler, paused=paused, actor=actor, why=why
            )

    if not asyncio.run(act()):
        known = ", ".join(sorted(current_app(context).handlers))
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


@sagas.command(name="list")
def saga_list(
    name: Annotated[str | None, typer.Option("--name", help="Only instances of this saga.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Saga instances, the ones changed last first."""

    async def find() -> list[dict[str, Any]]:
        async with open_connection() as conn:
            return await saga_queries.list_sagas(conn, name=name, limit=limit)

    rows = asyncio.run(find())
    if as_json:
        print_json(rows)
        return
    table = Table("id", "saga", "key", "version", "changed", "ended")
    for row in rows:
        ended = f"{row['ended_at']:%Y-%m-%d %H:%M:%S}" if row["ended_at"] else "open"
        table.add_row(
            str(row["id"]),
            row["name"],
            row["key"],
            str(row["version"]),
            f"{row['changed_at']:%Y-%m-%d %H:%M:%S}",
            ended,
        )
    out().print(table)


@sagas.command(name="show")
def saga_show(saga_id: int, as_json: AsJson = False) -> None:
    """One instance with its timeline."""

    async def find() -> Any:
        async with open_connection() as conn:
            return await saga_queries.show_saga(conn, saga_id)

    found = asyncio.run(find())
    if found is None:
        raise OutboxError(f"there is no saga {saga_id}; `outbox saga list` shows what there is")
    instance, timeline = found
    if as_json:
        print_json({**instance, "timeline": timeline})
        return
    out().print(
        f"saga {instance['id']} {instance['name']} {instance['key']}: {json.dumps(instance['state'], default=str)}"
    )
    for step in timeline:
        fields = ", ".join(
            f"{name}: {old} -> {new}" for name, (old, new) in step["change"]["fields"].items()
        )
        armed = "".join(f"; arms {name} for {at}" for name, at in step["armed"].items())
        cancelled = "".join(f"; cancels {name}" for name in step["cancelled"])
        sent = f"; publishes {len(step['published'])}" if step["published"] else ""
        out().print(
            f"  {step['at']:%Y-%m-%d %H:%M:%S} {step['topic']}: {step['change']['note'] or '-'} [{fields}]{sent}{armed}{cancelled}"
        )


def main() -> None:
    """The console script."""
    try:
        app = find_app(_given_app(sys.argv[1:]))
        if app.commands is not None:
            _add_commands(app.commands)
        command = typer.main.get_command(engine)
        code = command.main(prog_name="outbox", obj=app, standalone_mode=False)
    except UsageError as error:
        typer.echo(f"outbox: {error}", err=True)
        sys.exit(USAGE)
    except OutboxError as error:
        typer.echo(f"outbox: {error}", err=True)
        sys.exit(FAILED)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()  # a usage error of the command line itself
        sys.exit(USAGE)
    sys.exit(code if isinstance(code, int) else 0)


def _given_app(args: list[str]) -> str | None:
    for place, arg in enumerate(args):
        if arg == "--app" and place + 1 < len(args):
            return args[place + 1]
        if arg.startswith("--app="):
            return arg.partition("=")[2]
    return None


def _add_commands(commands: typer.Typer) -> None:
    engine.registered_commands.extend(commands.registered_commands)
    engine.registered_groups.extend(commands.registered_groups)


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


if __name__ == "__main__":
    main()
