"""The statements of reviews: alerts that a person closes with a note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Review:
    """An open alert that somebody has to look at until `due_at`."""

    alert_id: UUID
    organisation: str
    type: str
    mentor_id: UUID | None
    subject: str
    severity: str
    opened_at: datetime
    due_at: datetime | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What an alert is about, whose it is (None: the operators'), and whether it is still open."""

    type: str
    subject: str
    organisation_id: UUID | None
    mentor_id: UUID | None
    open: bool


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One open alert; without `organisation` it is the operators'. `of`: how many are open."""

    alert_id: UUID
    organisation: str | None
    type: str
    mentor_id: UUID | None
    subject: str
    severity: str
    hint: str | None
    opened_at: datetime
    due_at: datetime | None
    of: int


async def alerts_open(
    conn: AsyncConnection[Any], *, limit: int, organisation_id: UUID | None = None
) -> list[OpenAlert]:
    """Open alerts of one organisation or of all, the most severe first."""
    params = {"limit": limit, "organisation_id": organisation_id}
    async with conn.cursor(row_factory=class_row(OpenAlert)) as cursor:
        await cursor.execute(statement("alerts_open"), params)
        return await cursor.fetchall()


async def open_reviews(
    conn: AsyncConnection[Any],
    *,
    types: Sequence[str],
    now: datetime,
    organisation_id: UUID | None = None,
) -> list[Review]:
    """Open alerts of `types`, of one organisation or of all, the first due first."""
    params = {"types": list(types), "now": now, "organisation_id": organisation_id}
    async with conn.cursor(row_factory=class_row(Review)) as cursor:
        await cursor.execute(statement("open_reviews"), params)
        return await cursor.fetchall()


async def review_of_alert(conn: AsyncConnection[Any], alert_id: UUID) -> Reviewed | None:
    """The alert `alert_id`, if there ever was one."""
    async with conn.cursor(row_factory=class_row(Reviewed)) as cursor:
        await cursor.execute(statement("review_of_alert"), {"alert_id": alert_id})
        return await cursor.fetchone()


async def close_review(
    conn: AsyncConnection[Any], alert_id: UUID, *, actor_id: UUID, note: str, now: datetime
) -> bool:
    """Close it. False: somebody else has."""
    params = {"alert_id": alert_id, "actor_id": actor_id, "note": note, "now": now}
    cursor = await conn.execute(statement("close_review"), params)
    return await cursor.fetchone() is not None


async def reviewed_subjects(
    conn: AsyncConnection[Any], organisation_id: UUID, *, types: Sequence[str]
) -> set[str]:
    """The subjects of this organisation that a person has closed."""
    params = {"organisation_id": organisation_id, "types": list(types)}
    cursor = await conn.execute(statement("reviewed_subjects"), params)
    return {row[0] async for row in cursor}
