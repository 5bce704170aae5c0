"""The statements of the HTTP surface, as the role its transaction has taken on.

Rows come by column, ready for the models that are answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.rows import dict_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.http.tokens import Caller, Role

    Conn = AsyncConnection[Any]
    Row = dict[str, Any]

_PACKAGE: Final = "sagas.http"
_ACT_AS: Final = load(_PACKAGE, "act_as")
_MY_NOTIFICATIONS: Final = load(_PACKAGE, "my_notifications")
_MARK_READ: Final = load(_PACKAGE, "mark_read")
_REGISTER_DEVICE: Final = load(_PACKAGE, "register_device")
_MY_ALERTS: Final = load(_PACKAGE, "my_alerts")
_EDITABLE_MENTOR: Final = load(_PACKAGE, "editable_mentor")
_VISIBLE_MENTOR: Final = load(_PACKAGE, "visible_mentor")
_SYNC_EVENT: Final = load(_PACKAGE, "sync_event")
_MY_REPORTS: Final = load(_PACKAGE, "my_reports")
_MY_REPORT_ITEMS: Final = load(_PACKAGE, "my_report_items")
_MY_REPORT_DUPLICATES: Final = load(_PACKAGE, "my_report_duplicates")
_MY_FINDINGS: Final = load(_PACKAGE, "my_findings")
_MY_REACH: Final = load(_PACKAGE, "my_reach")
_MY_MENTORS: Final = load(_PACKAGE, "my_mentors")
_NOTE_READS: Final = load(_PACKAGE, "note_reads")
_DUPLICATE_REVIEWS: Final = load(_PACKAGE, "duplicate_reviews")


async def act_as(conn: Conn, role: Role, caller: Caller | None, *, now: datetime | None) -> None:
    """Take on `role` with the caller's claims until the transaction ends."""
    params = {
        "role": role.value,
        "claims": "" if caller is None else caller.claims(),
        "now": "" if now is None else now.isoformat(),
    }
    await conn.execute(_ACT_AS, params)


async def my_notifications(
    conn: Conn, *, unread: bool, before: UUID | None, limit: int
) -> list[Row]:
    """A page of the caller's inbox, the newest first."""
    return await _rows(conn, _MY_NOTIFICATIONS, unread=unread, before=before, limit=limit)


async def mark_read(conn: Conn, notification_id: UUID) -> bool:
    """Mark one notification of the caller as read. False: he has none of that id."""
    return bool(await _value(conn, _MARK_READ, id=notification_id))


async def register_device(
    conn: Conn, *, address: str, address_kind: str, platform: str | None
) -> UUID:
    """Let `address` reach the caller from now on; the device's id."""
    found: UUID = await _value(
        conn, _REGISTER_DEVICE, address=address, address_kind=address_kind, platform=platform
    )
    return found


async def my_alerts(conn: Conn, *, state: str, before: UUID | None, limit: int) -> list[Row]:
    """A page of the alerts the caller answers for; `state` is open, resolved or all."""
    return await _rows(conn, _MY_ALERTS, state=state, before=before, limit=limit)


async def editable_mentor(conn: Conn, mentor_id: UUID) -> Row | None:
    """Lock the mentor's row, if the caller may edit it. None: not for him, or not there."""
    return await _row(conn, _EDITABLE_MENTOR, mentor_id=mentor_id)


async def sees_mentor(conn: Conn, mentor_id: UUID) -> bool:
    """Whether the caller may know of this mentor."""
    return await _row(conn, _VISIBLE_MENTOR, mentor_id=mentor_id) is not None


async def sync_event(conn: Conn, mentor_id: UUID) -> Row | None:
    """How the mentor's newest version stands; None before the first, or without a channel."""
    return await _row(conn, _SYNC_EVENT, mentor_id=mentor_id)


async def my_reports(
    conn: Conn, *, report_id: UUID | None = None, before: UUID | None = None, limit: int = 1
) -> list[Row]:
    """Reports of the caller's organisations, the newest first; or the one named."""
    return await _rows(conn, _MY_REPORTS, report_id=report_id, before=before, limit=limit)


async def my_report_items(conn: Conn, report_id: UUID) -> list[Row]:
    """What a report says of the mentors the caller answers for, danger first."""
    return await _rows(conn, _MY_REPORT_ITEMS, report_id=report_id)


async def my_report_duplicates(conn: Conn, report_id: UUID) -> list[Row]:
    """The duplicates of a report, of the same mentors."""
    found: list[Row] = await _value(conn, _MY_REPORT_DUPLICATES, report_id=report_id)
    return found


async def my_findings(conn: Conn, *, limit: int) -> list[Row]:
    """Open findings about whom the caller answers for, the longest open first."""
    return await _rows(conn, _MY_FINDINGS, limit=limit)


async def my_reach(conn: Conn) -> list[Row]:
    """The organisations the caller works for, and whether he administers each."""
    return await _rows(conn, _MY_REACH)


async def my_mentors(conn: Conn) -> set[UUID]:
    """The mentors that reports may speak of to the caller."""
    return {row["mentor_id"] for row in await _rows(conn, _MY_MENTORS)}


async def note_reads(conn: Conn, mentor_ids: Collection[UUID]) -> set[UUID]:
    """Those who may be shown to the caller; whom only the emergency switch shows is noted."""
    rows = await _rows(conn, _NOTE_READS, mentor_ids=list(mentor_ids))
    return {row["mentor_id"] for row in rows}


async def duplicate_reviews(conn: Conn) -> list[Row]:
    """The open reviews of duplicates that the caller answers for."""
    return await _rows(conn, _DUPLICATE_REVIEWS)


async def _rows(conn: Conn, text: LiteralString, **params: Any) -> list[Row]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(text, params)
        return await cursor.fetchall()


async def _row(conn: Conn, text: LiteralString, **params: Any) -> Row | None:
    return next(iter(await _rows(conn, text, **params)), None)


async def _value(conn: Conn, text: LiteralString, **params: Any) -> Any:
    cursor = await conn.execute(text, params)
    found = await cursor.fetchone()
    assert found is not None, "a function returns a row"
    return found[0]
