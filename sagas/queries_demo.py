"""What the demo looks at to tell its story, and the one certificate it renews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from sagas.statements import statement

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    from psycopg import AsyncConnection


async def paused_with_coordinator(conn: AsyncConnection[Any]) -> tuple[UUID, UUID] | None:
    """A paused mentor with a portal and one of his coordinators; None: there is none."""
    cursor = await conn.execute(statement("paused_with_coordinator"))
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


async def paused_by_chapter(conn: AsyncConnection[Any]) -> dict[str, int]:
    """How many mentors are paused for a lapsed certificate, by organisation and chapter."""
    cursor = await conn.execute(statement("paused_by_chapter"))
    return {str(row[0]): int(row[1]) for row in await cursor.fetchall()}


async def open_alerts(conn: AsyncConnection[Any]) -> list[dict[str, Any]]:
    """Unresolved alerts by type, text and severity, with their number."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement("open_alerts"))
        return await cursor.fetchall()


async def alert_of_mentor(conn: AsyncConnection[Any], mentor_id: UUID, kind: str) -> str | None:
    """The text of a mentor's open alert; None: none is open."""
    params = {"mentor_id": mentor_id, "type": kind}
    cursor = await conn.execute(statement("alert_of_mentor"), params)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def told_counts(conn: AsyncConnection[Any]) -> dict[str, int]:
    """How many were told what, by name."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement("told_counts"))
        row = await cursor.fetchone()
    assert row is not None, "an aggregate has a row"
    return row


async def status_of_mentor(conn: AsyncConnection[Any], mentor_id: UUID) -> tuple[str, int]:
    """Status and visibility version of a mentor who exists."""
    cursor = await conn.execute(statement("status_of_mentor"), {"mentor_id": mentor_id})
    row = await cursor.fetchone()
    assert row is not None, "the mentor exists"
    return row[0], row[1]


async def renew_certificate(
    conn: AsyncConnection[Any],
    mentor_id: UUID,
    *,
    issued_on: date,
    expiry_date: date,
    now: datetime,
) -> None:
    """Issue a new certificate in the caller's transaction; the database draws the consequences."""
    await conn.execute(statement("set_instant"), {"now": now})
    params = {"mentor_id": mentor_id, "issued_on": issued_on, "expiry_date": expiry_date}
    await conn.execute(statement("renew_certificate"), params)
