"""The live view of `outbox status --watch`: depth, age, rate, destination, relays."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from outbox import inspection, queries_audit
from outbox.cli.frame import open_connection, out
from outbox.self_audit import UNKNOWN_WINDOW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rich.console import Console, RenderableType

    from outbox.app import App
    from outbox.inspection import DestinationState, HandlerDepth, RelaySeen, UnroutedTopic
    from outbox.queries import Conn

RATE_SPAN = timedelta(seconds=10)
RECEIPTS_MAX = 20_000
"""How many of the newest receipts are looked at for the rates."""

LOST_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw."""

    now: datetime
    depths: Sequence[HandlerDepth]
    due_since: Mapping[str, datetime]
    rates: Mapping[str, float]
    states: Mapping[str, DestinationState]
    relays: Sequence[RelaySeen]
    unrouted: Sequence[UnroutedTopic]


async def look(conn: Conn, app: App) -> Sight:
    """Look once; what it costs does not grow with receipts."""
    now = app.clock.sql_now()
    fronts = await queries_audit.fronts(conn, grace=app.due_age_max, window=UNKNOWN_WINDOW, now=now)
    return Sight(
        now=fronts[0].now if fronts else app.clock.now(),
        depths=await inspection.depths(conn),
        due_since={one.handler: one.front_since for one in fronts if one.front_since is not None},
        rates=await inspection.recent_rates(conn, span=RATE_SPAN, limit=RECEIPTS_MAX, now=now),
        states={one.handler: one for one in await inspection.destinations(conn)},
        relays=await inspection.relays(conn),
        unrouted=await inspection.unrouted(conn),
    )


def frame(sight: Sight, app: App) -> RenderableType:
    """One frame. Handlers, numbers and states; no key and no payload."""
    table = Table(title=f"deliveries at {sight.now:%H:%M:%S}")
    for name in ("handler", "pending", "leased", "unknown", "dead", "due for", "done/s"):
        table.add_column(name, justify="left" if name == "handler" else "right")
    table.add_column("destination")
    depths = {one.handler: one for one in sight.depths}
    for name in sorted({*depths, *sight.states}):
        depth = depths.get(name) or inspection.HandlerDepth(name, 0, 0, 0, 0)
        since, state = sight.due_since.get(name), sight.states.get(name)
        age = timedelta(0) if since is None else max(sight.now - since, timedelta(0))
        late = age > app.due_age_max
        word = "not registered" if state is None else state.word(sight.now)
        table.add_row(
            name, str(depth.pending), str(depth.leased), _alarming(depth.unknown),
            _alarming(depth.dead), Text(_short(age), style="red" if late else ""),
            f"{sight.rates.get(name, 0.0):.1f}",
            Text(word, style="" if word == "open" else "yellow"),
        )  # fmt: skip
    lines = [_relay_line(one) for one in sight.relays]
    if not any(one.unseen_for < LOST_AFTER for one in sight.relays):
        lines.append(Text("no relay is running; start one with `outbox relay`", style="red"))
    lines += [
        Text(f"unrouted: {one.parked} messages of {one.topic}", style="yellow")
        for one in sight.unrouted
    ]
    return Group(table, *lines)


async def watch(app: App, *, every: float, console: Console | None = None) -> None:
    """Show a frame every few seconds until interrupted; on no terminal, one below the other."""
    console = console or out()
    async with open_connection() as conn:
        await conn.set_autocommit(True)
        on_terminal = Live(console=console, auto_refresh=False) if console.is_terminal else None
        with on_terminal or nullcontext() as live:
            while True:
                seen = frame(await look(conn, app), app)
                if live is None:
                    console.print(seen)
                else:
                    live.update(seen, refresh=True)
                await asyncio.sleep(every)


def _relay_line(one: RelaySeen) -> Text:
    lost = one.unseen_for >= LOST_AFTER
    seen = f"relay {one.id}: seen {int(one.unseen_for.total_seconds())} s ago"
    version = f", version {one.version}" if one.version else ""
    return Text(f"{seen}{version}{', lost' if lost else ''}", style="red" if lost else "")


def _alarming(count: int) -> Text:
    return Text(str(count), style="red" if count else "")


def _short(age: timedelta) -> str:
    minutes, seconds = divmod(int(age.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
