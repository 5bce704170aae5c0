"""The SQL of the dashboard's alerts."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from psycopg import AsyncConnection

_OPEN_ALERT: Final = load("handlers.alerts", "open_alert")
_CLOSE_ALERT: Final = load("handlers.alerts", "close_alert")


class Opening(StrEnum):
    """What became of an alert that was to be opened."""

    OPENED = "opened"
    ESCALATED = "escalated"
    ALREADY_OPEN = "already_open"
    SUBJECT_GONE = "subject_gone"


async def open_alert(  # noqa: PLR0913  # the columns of one row
    conn: AsyncConnection[Any],
    *,
    type_: str,
    organisation_id: UUID | None,
    mentor_id: UUID | None,
    subject: str,
    texts: Mapping[str, str],
    severity: str,
    hint: str | None,
    due_after: timedelta | None,
    now: datetime,
) -> Opening:
    """Open an alert, escalate the open one, or leave it as it is.

    `texts` by language: the organisation's is written, English where there is no organisation.
    """
    params = {
        "type": type_,
        "organisation_id": organisation_id,
        "mentor_id": mentor_id,
        "subject": subject,
        "texts": Jsonb(dict(texts)),
        "severity": severity,
        "hint": hint,
        "due_after": due_after,
        "now": now,
    }
    async with conn.cursor() as cursor:
        await cursor.execute(_OPEN_ALERT, params)
        row = await cursor.fetchone()
    assert row is not None  # the statement always says what became of it
    return Opening(row[0])


async def close_alert(  # noqa: PLR0913 - what names one alert, and when
    conn: AsyncConnection[Any],
    *,
    type_: str,
    organisation_id: UUID | None,
    mentor_id: UUID | None,
    subject: str,
    now: datetime,
) -> bool:
    """Resolve an open alert. False: none was open."""
    params = {
        "type": type_,
        "organisation_id": organisation_id,
        "mentor_id": mentor_id,
        "subject": subject,
        "now": now,
    }
    async with conn.cursor() as cursor:
        await cursor.execute(_CLOSE_ALERT, params)
        return cursor.rowcount == 1
