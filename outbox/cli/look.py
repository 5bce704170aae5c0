"""The commands that only look: depth, why a delivery waits, sagas and their timelines."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox import inspection
from outbox.cli.frame import AsJson, current_app, engine, open_connection, out, print_json, sagas
from outbox.errors import OutboxError
from outbox.explain import explain
from outbox.saga import queries as saga_queries

if TYPE_CHECKING:
    from outbox.app import App


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
            f"there is no delivery {delivery_id}, and no receipt of one; "
            "`outbox status` shows what there is"
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
            f"  {receipt['settled_at']:%Y-%m-%d %H:%M:%S} attempt {receipt['attempt']}: "
            f"{receipt['outcome']}{reason}"
        )


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
        f"saga {instance['id']} {instance['name']} {instance['key']}: "
        f"{json.dumps(instance['state'], default=str)}"
    )
    for step in timeline:
        fields = ", ".join(
            f"{name}: {old} -> {new}" for name, (old, new) in step["change"]["fields"].items()
        )
        armed = "".join(f"; arms {name} for {at}" for name, at in step["armed"].items())
        cancelled = "".join(f"; cancels {name}" for name in step["cancelled"])
        sent = f"; publishes {len(step['published'])}" if step["published"] else ""
        out().print(
            f"  {step['at']:%Y-%m-%d %H:%M:%S} {step['topic']}: {step['change']['note'] or '-'} "
            f"[{fields}]{sent}{armed}{cancelled}"
        )
