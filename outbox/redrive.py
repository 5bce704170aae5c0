"""Giving deliveries another chance, at a person's word. Who may is the application's question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import tuple_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.queries import Conn, Now

MAKE_DUE = load("outbox", "make_due")
MAKE_DELIVERY_DUE = load("outbox", "make_delivery_due")
REDRIVE_DEAD = load("outbox", "redrive_dead")
RESEND_HELD = load("outbox", "resend_held")
COUNT_DEAD = load("outbox", "count_dead")
PAUSE_DESTINATION = load("outbox", "pause_destination")

REDRIVE_MAX = 10_000
"""How many dead letters one call takes at most."""


async def make_due(conn: Conn, *, handler: str, key: str, now: Now = None) -> int:
    """Let what waits under `key` be tried now, its ladder from the start; how many."""
    cursor = await conn.execute(MAKE_DUE, {"handler": handler, "key": key, "now": now})
    return cursor.rowcount


async def make_delivery_due(conn: Conn, *, delivery_id: int, now: Now = None) -> int:
    """The same for one delivery; 0 when it is leased, unknown or gone."""
    cursor = await conn.execute(MAKE_DELIVERY_DUE, {"delivery_id": delivery_id, "now": now})
    return cursor.rowcount


async def resend_held(conn: Conn, *, delivery_id: int, actor: str, now: Now = None) -> int:
    """Send once more what is held as unknown; it may then arrive twice. 0 when it is not held."""
    params = {"delivery_id": delivery_id, "actor": actor, "now": now}
    return (await conn.execute(RESEND_HELD, params)).rowcount


async def redrive_dead(  # noqa: PLR0913 - the filters of one act
    conn: Conn,
    *,
    actor: str,
    delivery_ids: Sequence[int] | None = None,
    handler: str | None = None,
    key: str | None = None,
    limit: int = REDRIVE_MAX,
    now: Now = None,
) -> list[int]:
    """Make deliveries of dead letters again; their ids. `actor` is recorded in the receipts."""
    params: dict[str, Any] = {
        "delivery_ids": None if delivery_ids is None else list(delivery_ids), "handler": handler,
        "key": key, "limit": limit, "actor": actor, "now": now,
    }  # fmt: skip
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(REDRIVE_DEAD, params)
        return [row[0] for row in await cursor.fetchall()]


async def count_dead(
    conn: Conn,
    *,
    delivery_ids: Sequence[int] | None = None,
    handler: str | None = None,
    key: str | None = None,
) -> int:
    """How many dead letters `redrive_dead` would take with the same filters."""
    params = {
        "delivery_ids": None if delivery_ids is None else list(delivery_ids),
        "handler": handler,
        "key": key,
    }
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(COUNT_DEAD, params)
        row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def set_paused(  # noqa: PLR0913 - who does what to whom, and why
    conn: Conn, *, handler: str, paused: bool, actor: str, why: str, now: Now = None
) -> bool:
    """Pause or resume a handler in every process; False when there is no such handler."""
    params = {"handler": handler, "paused": paused, "actor": actor, "why": why, "now": now}
    return (await conn.execute(PAUSE_DESTINATION, params)).rowcount > 0
