"""The SQL of a mentor's visibility version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from outbox.statements import load

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    from psycopg import AsyncConnection

_LOCK_STANDING: Final = load("handlers.mentor_state", "lock_standing")
_BUMP_VISIBILITY: Final = load("handlers.mentor_state", "bump_visibility")
_MARK_RAISED: Final = load("handlers.mentor_state", "mark_raised")


@dataclass(frozen=True, slots=True)
class StandingRow:
    """One locked mentor; `today` is the date where his organisation is."""

    organisation_id: UUID
    version: int
    raised_on: date | None
    today: date


async def lock_standing(
    conn: AsyncConnection[Any], mentor_id: UUID, *, now: datetime
) -> StandingRow | None:
    """Lock a mentor's row until the transaction ends. None: there is none."""
    async with conn.cursor(row_factory=class_row(StandingRow)) as cursor:
        await cursor.execute(_LOCK_STANDING, {"mentor_id": mentor_id, "now": now})
        return await cursor.fetchone()


async def bump_visibility(
    conn: AsyncConnection[Any], mentor_id: UUID, *, at_least: int, reason: str, now: datetime
) -> int | None:
    """Raise the version and publish it. None: his organisation has no portal."""
    params = {"mentor_id": mentor_id, "at_least": at_least, "reason": reason, "now": now}
    async with conn.cursor() as cursor:
        await cursor.execute(_BUMP_VISIBILITY, params)
        row = await cursor.fetchone()
    return row[0] if row else None


async def mark_raised(conn: AsyncConnection[Any], mentor_id: UUID, *, today: date) -> None:
    """Remember that the version was raised today."""
    async with conn.cursor() as cursor:
        await cursor.execute(_MARK_RAISED, {"mentor_id": mentor_id, "today": today})
