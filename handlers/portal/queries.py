"""The portal's SQL: what to send, and what was learnt."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from handlers.portal.port import WantedVisibility
from handlers.portal.wire import Reason
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

_WANTED_VISIBILITY: Final = load("handlers.portal", "wanted_visibility")
_RECORD_TOLD: Final = load("handlers.portal", "record_told")
_NOTE_UNKNOWN: Final = load("handlers.portal", "note_unknown")


@dataclass(frozen=True, slots=True)
class WantedRow:
    """One mentor's wanted state and the channel of his organisation."""

    mentor_id: UUID
    organisation: str
    channel: str
    version: int
    visible: bool
    reason: str
    effective_at: datetime
    changed_at: datetime

    def wanted(self) -> WantedVisibility:
        """Return what a port sends."""
        return WantedVisibility(
            mentor_id=self.mentor_id,
            organisation=self.organisation,
            version=self.version,
            visible=self.visible,
            reason=Reason(self.reason),
            effective_at=self.effective_at,
            changed_at=self.changed_at,
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What one attempt learnt about one mentor; None is what it did not learn.

    `observed` says that `observed_*` are facts, also where all are None: absent at the portal.
    """

    mentor_id: UUID
    at: datetime
    attempts: int | None = None
    code: str | None = None
    accepted_version: int | None = None
    acked_version: int | None = None
    acked_visible: bool | None = None
    observed: bool = False
    observed_version: int | None = None
    observed_visible: bool | None = None
    observed_published: bool | None = None
    request_id: str | None = None


async def wanted_visibility(
    conn: AsyncConnection[Any], mentors: Sequence[UUID], *, now: datetime
) -> dict[UUID, WantedRow]:
    """Return the wanted state of each of `mentors` that exists."""
    params = {"mentors": list(mentors), "now": now}
    async with conn.cursor(row_factory=class_row(WantedRow)) as cursor:
        await cursor.execute(_WANTED_VISIBILITY, params)
        return {row.mentor_id: row async for row in cursor}


async def record_told(conn: AsyncConnection[Any], told: Iterable[Told]) -> None:
    """Keep what was learnt; rows are locked in the mentors' order."""
    ordered = sorted(told, key=lambda each: each.mentor_id)
    async with conn.cursor() as cursor:
        await cursor.executemany(_RECORD_TOLD, [asdict(each) for each in ordered])


async def note_unknown(conn: AsyncConnection[Any], unknown: Mapping[UUID, datetime]) -> None:
    """Open a finding about each mentor the portal did not know, and when it said so."""
    if unknown:
        params = {"mentors": list(unknown), "ats": list(unknown.values())}
        await conn.execute(_NOTE_UNKNOWN, params)
