"""Changing where topics go: a new handler is given the past, a route is dropped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox import queries_cluster, queries_routes
from outbox.errors import ConfigurationError, HandlerMissing, OutboxError
from outbox.outcome import Withdrawn
from outbox.settlement import Settlement

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.app import App
    from outbox.queries import Conn

WINDOW = 2_000
"""How many rows one statement looks at."""

OPEN_SECONDS_MAX = 10.0
"""How long a backfill waits for transactions that may have published before its route was there."""


class StillWaiting(OutboxError):
    """A route cannot be dropped in silence while deliveries wait behind it."""

    def __init__(self, topic: str, handler: str, waiting: int) -> None:
        super().__init__(
            f"{waiting} deliveries of {topic} wait for {handler}; let them end first, or settle "
            "them as withdrawn with --withdraw"
        )
        self.topic, self.handler, self.waiting = topic, handler, waiting


class OrderAtStake(OutboxError):
    """An ordered handler that runs would take new messages before the old ones."""

    def __init__(self, handler: str) -> None:
        super().__init__(
            f"{handler} keeps order and is not paused, so it could take new messages before the "
            f"old ones; run `outbox pause {handler}` first, and resume it when this is done"
        )
        self.handler = handler


@dataclass(frozen=True, slots=True)
class Backfilled:
    """How many messages the handler was given; `open_writers`: some may have been missed."""

    sent: int
    open_writers: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of a route: was there one, how many were withdrawn, how many still run."""

    was_there: bool
    withdrawn: int
    left: int


async def backfill(  # noqa: PLR0913 - what, to whom, since when
    conn: Conn, app: App, name: str, *, since: datetime, dry_run: bool = False,
    open_seconds_max: float = OPEN_SECONDS_MAX,
) -> Backfilled:  # fmt: skip
    """Give handler `name` every stored message of its topics since then that it never had.

    Safe to run again, also while another runs: what it had is not given twice. Each batch is a
    transaction of its own. Raises `OrderAtStake` for an ordered handler that is not paused.
    """
    handler = app.handlers.get(name)
    if handler is None:
        known = ", ".join(sorted(app.handlers)) or "none"
        raise ConfigurationError(f"there is no handler {name!r}; there are {known}")
    topics = sorted({topic for topic, routed, _ in app.routes() if routed == name})
    async with conn.transaction():
        await queries_cluster.register(conn, app)
    open_writers = await _writers_remain(conn, open_seconds_max)
    place: int | None = 0
    sent = 0
    while place is not None:
        async with conn.transaction(force_rollback=dry_run):
            paused = await queries_routes.take_backfill_turn(conn, handler=name)
            if handler.ordered and not (paused or dry_run):
                raise OrderAtStake(name)
            place, given = await queries_routes.backfill_handler(
                conn, handler=name, ordered=handler.ordered, topics=topics, since=since,
                after=place, window=WINDOW, now=app.clock.sql_now(),
            )  # fmt: skip
        sent += given
    return Backfilled(sent, open_writers)


async def _writers_remain(conn: Conn, seconds_max: float) -> bool:
    """Whether, after some waiting, transactions of before are still open."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds_max
    async with conn.transaction():
        _, first = await queries_routes.oldest_writer(conn)
    while True:
        async with conn.transaction():
            oldest, _ = await queries_routes.oldest_writer(conn)
        if oldest >= first:
            return False
        if loop.time() >= until:
            return True
        await asyncio.sleep(0.05)


async def drop_route(  # noqa: PLR0913 - what, from whom, by whom
    conn: Conn, app: App, topic: str, name: str, *, actor: str, withdraw: bool = False
) -> Dropped:
    """Send `topic` to handler `name` no longer.

    Raises `StillWaiting` and changes nothing where deliveries wait, unless `withdraw` settles them.
    What is being tried is left to its end; the handler's `record` is told of what was withdrawn.
    Raises `HandlerMissing` where a live relay has the handler and `app` has not and cannot tell.
    """
    waiting = await _waiting(conn, topic, name)
    if waiting and not withdraw:
        await conn.rollback()
        raise StillWaiting(topic, name, waiting)
    if waiting and name not in app.handlers and await _is_elsewhere(conn, app, name):
        raise HandlerMissing(name, app.name)
    async with conn.transaction():
        was_there = await queries_routes.drop_route(conn, topic=topic, handler=name)
    withdrawn = 0
    place: int | None = 0
    while withdraw and place is not None:
        async with conn.transaction():
            rows, place = await queries_routes.withdraw_waiting(
                conn, topic=topic, handler=name, actor=actor, after=place, window=WINDOW,
                now=app.clock.sql_now(),
            )  # fmt: skip
            if rows and (handler := app.handlers.get(name)) is not None:
                settlement = Settlement(app, handler, relay=actor, clock=app.clock)
                await settlement.settle_untried(conn, rows, Withdrawn("route_dropped"))
        withdrawn += len(rows)
    return Dropped(was_there, withdrawn, await _waiting(conn, topic, name))


async def _is_elsewhere(conn: Conn, app: App, name: str) -> bool:
    """Whether another program that lives has the handler, with tables that it alone can tell."""
    async with conn.transaction():
        strangers = await queries_routes.find_strangers(conn, handlers=list(app.handlers))
    return name not in {one.handler for one in strangers}


async def _waiting(conn: Conn, topic: str, name: str) -> int:
    async with conn.transaction():
        routes = await queries_routes.list_routes(conn)
    return sum(one.waiting for one in routes if (one.topic, one.handler) == (topic, name))
