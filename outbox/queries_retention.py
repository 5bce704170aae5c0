"""Statements that delete what has ended and been kept long enough; the transaction is the caller's.

Each looks at a bounded number of rows that follow the place where the one before came to, and says
how far it came. `now` None means the database's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import tuple_row

from outbox.statements import load

if TYPE_CHECKING:
    from datetime import timedelta

    from outbox.queries import Conn, Now

TAKE_PRUNE_TURN = load("outbox", "take_prune_turn")
PRUNE_MESSAGES = load("outbox", "prune_messages")
PRUNE_RECEIPTS = load("outbox", "prune_receipts")
PRUNE_DEDUP = load("outbox", "prune_dedup")
PRUNE_SAGAS = load("outbox", "prune_sagas")
PRUNE_LEASES = load("outbox", "prune_leases")

_BY_ID = {"messages": PRUNE_MESSAGES, "receipts": PRUNE_RECEIPTS, "sagas": PRUNE_SAGAS}


class Looked(NamedTuple):
    """Where a look ended, None when there is no more that could be old; how many rows it took."""

    to: Any
    gone: int


async def take_prune_turn(conn: Conn) -> bool:
    """Whether nobody else prunes while this transaction lasts; sets its time limits."""
    return bool((await _one(conn, TAKE_PRUNE_TURN, {}))[0])


async def prune_by_id(  # noqa: PLR0913 - what, from where, and how much
    conn: Conn, kind: str, *, after: int | None, keep: timedelta, window: int, now: Now
) -> Looked:
    """Prune `messages`, `receipts` or `sagas` above the id `after`; None for the first."""
    params = {"after": after or 0, "keep": keep, "window": window, "now": now}
    seen_to, old, gone = await _one(conn, _BY_ID[kind], params)
    return Looked(seen_to if old else None, gone)


async def prune_dedup(
    conn: Conn, *, after: tuple[str, str] | None, window: int, now: Now
) -> Looked:
    """Prune dedup keys after a topic and key; None for the first."""
    topic, dedup_key = after or ("", "")
    params = {"topic": topic, "dedup_key": dedup_key, "window": window, "now": now}
    row = await _one(conn, PRUNE_DEDUP, params)
    return Looked((row[0], row[1]), row[2]) if row else Looked(None, 0)


async def prune_leases(conn: Conn, *, now: Now) -> Looked:
    """Forget what dead relays have left behind."""
    return Looked(None, (await _one(conn, PRUNE_LEASES, {"now": now}))[0])


async def _one(conn: Conn, statement: Any, params: dict[str, Any]) -> tuple[Any, ...]:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        return await cursor.fetchone() or ()
