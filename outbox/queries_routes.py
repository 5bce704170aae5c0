"""Statements about where topics go: routes, what waits behind them, the past for a new handler.

The transaction is the caller's; `now` None means the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, tuple_row

from outbox.queries import Overtaken
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outbox.queries import Conn, Now

LIST_ROUTES = load("outbox", "list_routes")
DROP_ROUTE = load("outbox", "drop_route")
WITHDRAW_WAITING = load("outbox", "withdraw_waiting")
FIND_STRANGERS = load("outbox", "find_strangers")
TAKE_BACKFILL_TURN = load("outbox", "take_backfill_turn")
BACKFILL_HANDLER = load("outbox", "backfill_handler")
OLDEST_WRITER = load("outbox", "oldest_writer")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a topic goes, and how much of it waits there; `added_at` None: there is no route."""

    topic: str
    handler: str
    ordered: bool | None
    added_at: datetime | None
    waiting: int
    leased: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """A handler nobody knows, the topics that are routed to it, how much waits for it."""

    handler: str
    topics: list[str]
    waiting: int


async def list_routes(conn: Conn) -> list[Route]:
    """Every route, and what waits without one."""
    async with conn.cursor(row_factory=class_row(Route)) as cursor:
        await cursor.execute(LIST_ROUTES)
        return await cursor.fetchall()


async def drop_route(conn: Conn, *, topic: str, handler: str) -> bool:
    """Remove a route; False when there is none."""
    return (await conn.execute(DROP_ROUTE, {"topic": topic, "handler": handler})).rowcount > 0


async def withdraw_waiting(conn: Conn, **params: Any) -> tuple[list[Overtaken], int | None]:
    """Withdraw what waits of a topic for a handler; what it was, and where the look ended."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(WITHDRAW_WAITING, params)
        rows = await cursor.fetchall()
    return [Overtaken(*row[:-1]) for row in rows if row[0] is not None], rows[0][-1]


async def find_strangers(
    conn: Conn, *, handlers: Sequence[str], application: str | None = None
) -> list[Stranger]:
    """Handlers with a route or something waiting that neither `handlers` nor a relay knows.

    Those of another application than `application` are left out; None asks for all.
    """
    async with conn.cursor(row_factory=class_row(Stranger)) as cursor:
        params = {"handlers": list(handlers), "application": application}
        await cursor.execute(FIND_STRANGERS, params)
        return await cursor.fetchall()


async def take_backfill_turn(conn: Conn, *, handler: str) -> bool:
    """Wait for one's turn; whether the handler is paused, and stays so in this transaction."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(TAKE_BACKFILL_TURN, {"handler": handler})
        row = await cursor.fetchone()
    assert row is not None, "the handler is registered"
    return bool(row[1])


async def backfill_handler(  # noqa: PLR0913 - what, since when, from where, and how much
    conn: Conn, *, handler: str, ordered: bool, topics: Sequence[str], since: datetime,
    after: int, window: int, now: Now,
) -> tuple[int | None, int]:  # fmt: skip
    """Deliver what the handler never had; where the look ended (None: no more), and how many."""
    params = {"handler": handler, "ordered": ordered, "topics": list(topics), "since": since,
              "after": after, "window": window, "now": now}  # fmt: skip
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(BACKFILL_HANDLER, params)
        row = await cursor.fetchone()
    assert row is not None, "an aggregate answers one row"
    return row[0], row[1]


async def oldest_writer(conn: Conn) -> tuple[int, int]:
    """The oldest transaction that may still write, and the next that will begin."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(OLDEST_WRITER)
        row = await cursor.fetchone()
    assert row is not None, "a select without a table answers one row"
    return row[0], row[1]
