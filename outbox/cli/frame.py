"""What every command shares: the console, the settings, the application, a checked connection."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from outbox.logs import configure_logs
from outbox.readiness import check_revision, connect
from outbox.settings import EngineSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.table import Table

    from outbox.app import App

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
dead_letters = typer.Typer(no_args_is_help=True, help="Look at dead letters, and close them.")
engine.add_typer(dead_letters, name="dead")
unknowns = typer.Typer(no_args_is_help=True, help="Decide about calls that may have happened.")
engine.add_typer(unknowns, name="unknown")


def out() -> Console:
    """The console on stdout, as wide as the terminal or a report line."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140, highlight=False)


def print_table(table: Table, nothing: str) -> None:
    """Print a table, or where it has no row the sentence that says so."""
    out().print(table if table.row_count else nothing)


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
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    configure_logs(level, form=settings().log_format)


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if isinstance(value, date) else str(value)
