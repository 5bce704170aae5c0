"""The commands that only look: depth, why a delivery waits, sagas and their timelines."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox import inspection
from outbox.cli import live
from outbox.cli.frame import AsJson, current_app, engine, open_connection, out, print_json
from outbox.errors import ConfigurationError, OutboxError
from outbox.explain import Explanation, explain, explain_message
from outbox.handler import Effect

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.app import App


@engine.command()
def status(
    context: typer.Context,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep showing it, with rates; Ctrl-C ends.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between looks.")] = 2.0,
) -> None:
    """Depth, age and state of every handler, relays seen, messages without a route."""
    if watch:
        if as_json:
            raise ConfigurationError("--watch is for people; ask for --json again and again")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(live.watch(current_app(context), every=every))
        return
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
            {
                **asdict(row),
                "destination": describe_destination(states.get(row.handler), app.clock.now()),
            }
            for row in await inspection.census(conn, now=now)
        ]
        relays = [
            {
                "id": one.id,
                "unseen_seconds": int(one.unseen_for.total_seconds()),
                "handlers": one.handlers,
                "version": one.version,
            }
            for one in await inspection.relays(conn)
        ]
        return {
            "handlers": handlers,
            "relays": relays,
            "unrouted": [asdict(one) for one in await inspection.unrouted(conn)],
        }


def describe_destination(state: inspection.DestinationState | None, now: datetime) -> str:
    """One phrase for a destination's state at `now`: a hold that is over is none."""
    if state is None:
        return "not registered"
    if state.paused_at is not None:
        return f"paused by {state.paused_by}: {state.paused_why}"
    if state.circuit_opened_at is not None:
        return f"credentials rejected ({state.circuit_reason})"
    if state.breaker_opened_at is not None:
        return (
            f"breaker open since {state.breaker_opened_at:%H:%M:%S} ({state.breaker_reason}), "
            f"{'probe under way' if state.breaker_probing else 'next probe'} "
            f"{state.breaker_probe_at:%H:%M:%S}"
        )
    if state.held_until is not None and state.held_until > now:
        return f"held until {state.held_until:%H:%M:%S} ({state.held_reason})"
    return "open"


@engine.command(name="explain")
def explain_command(
    context: typer.Context,
    delivery_id: Annotated[int | None, typer.Argument(help="The delivery's id.")] = None,
    message: Annotated[
        int | None, typer.Option("--message", help="Every delivery of this message instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why one delivery waits, or how it ended."""
    if (delivery_id is None) == (message is None):
        raise ConfigurationError("give the id of one delivery, or --message and a message's id")
    app = current_app(context)

    async def find() -> list[Explanation]:
        async with open_connection() as conn:
            now = app.clock.sql_now()
            if message is not None:
                return await explain_message(conn, app, message, now=now) or []
            found = await explain(conn, app, delivery_id or 0, now=now)
            return [] if found is None else [found]

    explained = asyncio.run(find())
    if not explained:
        what = f"delivery {delivery_id}" if message is None else f"message {message}"
        raise OutboxError(
            f"there is no {what}, and no receipt of one; `outbox status` shows what there is"
        )
    if as_json:
        print_json(explained[0] if message is None else explained)
        return
    for one in explained:
        _print_explanation(app, one)


def _print_explanation(app: App, one: Explanation) -> None:
    out().print(f"delivery {one.delivery_id or '(none)'}: {one.state} - {one.reason}")
    handler = app.handlers.get(str(one.facts.get("handler", "")))
    if handler is not None:
        out().print(f"handler {handler.name} ({handler.effect}): {handler.retry.describe()}")
        for line in handler.retry.lines(ambiguous=handler.effect is Effect.AMBIGUOUS):
            out().print(f"  {line}")
        if handler.rate is not None:
            out().print(f"  {handler.rate.describe()}")
        if handler.breaks is not None:
            out().print(f"  {handler.breaks.describe()}")
    for receipt in one.receipts:
        reason = f" ({receipt['reason']})" if receipt["reason"] else ""
        out().print(
            f"  {receipt['settled_at']:%Y-%m-%d %H:%M:%S} attempt {receipt['attempt']}: "
            f"{receipt['outcome']}{reason}"
        )
