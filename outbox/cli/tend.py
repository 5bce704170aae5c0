"""The commands that look after what is stored: prune, backfill, routes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox import queries_routes
from outbox.cli.frame import (
    AsJson,
    current_app,
    engine,
    open_connection,
    out,
    print_json,
    print_table,
)
from outbox.errors import ConfigurationError
from outbox.retention import prune
from outbox.routing import backfill, drop_route

if TYPE_CHECKING:
    from outbox.app import App

routes = typer.Typer(no_args_is_help=True, help="Where topics go.")
engine.add_typer(routes, name="route")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")]


@engine.command(name="prune")
def prune_command(context: typer.Context, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Delete what has ended and was kept long enough; a relay does the same once an hour."""
    gone = asyncio.run(_prune(current_app(context), dry_run=dry_run))
    if as_json:
        print_json({"dry_run": dry_run, "gone": gone})
        return
    told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in gone.items())
    out().print(f"{'would delete' if dry_run else 'deleted'}: {told or 'nothing'}")
    if dry_run:
        out().print("receipts of those messages go with the next run after them")


async def _prune(app: App, *, dry_run: bool) -> dict[str, int]:
    if app.retention is None:
        raise ConfigurationError("the application keeps everything for ever (retention=None)")

    async def on(took: float) -> bool:
        del took
        return True

    async with open_connection() as conn:
        return dict(
            await prune(conn, app.retention, now=app.clock.sql_now(), rest=on, dry_run=dry_run)
        )


@engine.command(name="backfill")
def backfill_command(
    context: typer.Context,
    handler: str,
    since: Annotated[
        str, typer.Option("--since", help="Instant with zone, e.g. 2026-03-02T00:05:00Z.")
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a handler the stored messages of its topics that it never had. Safe to run again."""
    instant = _instant(since)

    async def act() -> Any:
        async with open_connection() as conn:
            return await backfill(
                conn, current_app(context), handler, since=instant, dry_run=dry_run
            )

    done = asyncio.run(act())
    if as_json:
        print_json(done)
        return
    out().print(f"{handler} {'would be' if dry_run else 'was'} given {done.sent} messages")
    if done.open_writers:
        out().print(
            "transactions that began before are still open and may publish without this handler's "
            "route; run it again when they have ended"
        )


@routes.command(name="list")
def route_list(context: typer.Context, as_json: AsJson = False) -> None:
    """Where each topic goes, and how much of it waits there."""
    app = current_app(context)
    wanted = {(topic, handler) for topic, handler, _ in app.routes()}

    async def find() -> list[queries_routes.Route]:
        async with open_connection() as conn:
            return await queries_routes.list_routes(conn)

    found = asyncio.run(find())
    if as_json:
        print_json(found)
        return
    table = Table("topic", "handler", "ordered", "waiting", "leased", "remark")
    for one in found:
        cells = ["yes" if one.ordered else "no", str(one.waiting), str(one.leased)]
        table.add_row(one.topic, one.handler, *cells, _remark(app, one, wanted))
    print_table(table, "no routes; a relay and `outbox migrate` add those of the application")


def _remark(app: App, route: queries_routes.Route, wanted: set[tuple[str, str]]) -> str:
    if route.added_at is None:
        return "no route any more"
    if (route.topic, route.handler) in wanted:
        return ""
    if route.handler in app.handlers:
        return "this program's handler takes other topics"
    return "not a handler of this program"


@routes.command(name="drop")
def route_drop(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    topic: str,
    handler: str,
    actor: Annotated[str, typer.Option("--actor", help="Who drops it.")],
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Settle what waits as withdrawn.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a topic to a handler no longer; refused while deliveries wait, unless withdrawn."""
    app = current_app(context)

    async def act() -> Any:
        async with open_connection() as conn, app.lifespan():
            return await drop_route(conn, app, topic, handler, actor=actor, withdraw=withdraw)

    done = asyncio.run(act())
    if not done.was_there and not done.withdrawn:
        raise ConfigurationError(
            f"{topic} has no route to {handler}; `outbox route list` shows what there is"
        )
    if as_json:
        print_json(done)
        return
    out().print(f"{topic} goes to {handler} no longer; {done.withdrawn} deliveries were withdrawn")
    if done.left:
        out().print(
            f"{done.left} are being tried, unknown or came meanwhile; see `outbox route list`"
        )
    if (topic, handler) in {(routed, name) for routed, name, _ in app.routes()}:
        out().print("this program still wants it: its next migrate or relay adds it again")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"--since {text!r} is no instant; write it like 2026-03-02T00:05:00Z"
        ) from None
    if instant.tzinfo is None:
        raise ConfigurationError(f"--since {text!r} has no zone; write it like {text}Z")
    return instant.astimezone(UTC)
