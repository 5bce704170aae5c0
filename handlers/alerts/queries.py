"""The SQL of the dashboard's alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outbox.statements import load

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from psycopg import AsyncConnection

_OPEN_ALERT: Final = load("handlers.alerts", "open_alert")
_CLOSE_ALERT: Final = load("handlers.alerts", "close_alert")


async def open_alert(  # noqa: PLR0913  # the columns of one row
    conn: AsyncConnection[Any],
    *,
    type_: str,
    organisation_id: UUID | None,
    mentor_id: UUID | None,
    subject: str,
    text: str,
    severity: str,
    due_after: timedelta | None,
    now: datetime,
) -> bool | None:
    """Open an alert: False if it is new, True if the open one was escalated, None if it stands."""
    params = {
        "type": type_,
        "organisation_id": organisation_id,
        "mentor_id": mentor_id,
        "subject": subject,
        "text": text,
        "severity": severity,
        "due_after": due_after,
        "now": now,
    }
    async with conn.cursor() as cursor:
        await cursor.execute(_OPEN_ALERT, params)
        row = await cursor.fetchone()
    return None if row is None else bool(row[0])


async def close_alert(
    conn: AsyncConnection[Any],
    *,
    type_: str,
    organisation_id: UUID | None,
    subject: str,
    now: datetime,
) -> bool:
    """Resolve an open alert. False: none was open."""
    params = {"type": type_, "organisation_id": organisation_id, "subject": subject, "now": now}
    async with conn.cursor() as cursor:
        await cursor.execute(_CLOSE_ALERT, params)
        return cursor.rowcount == 1
