"""The statement of a synchronisation by hand: whom, in which order."""

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
class Chosen:
    """One mentor to send by hand; `danger`: wanted hidden and maybe shown."""

    mentor_id: UUID
    organisation_id: UUID
    organisation: str
    channel: str
    version: int
    visible: bool
    danger: bool
    unconfirmed: bool


async def break_glass_mentors(
    conn: AsyncConnection[Any],
    *,
    mentors: Sequence[UUID] | None,
    organisation: str | None,
    now: datetime,
) -> list[Chosen]:
    """Those of `mentors` (None: of all) that a portal should know, the oldest danger first."""
    params = {
        "mentors": None if mentors is None else list(mentors),
        "organisation": organisation,
        "now": now,
    }
    async with conn.cursor(row_factory=class_row(Chosen)) as cursor:
        await cursor.execute(statement("break_glass_mentors"), params)
        return await cursor.fetchall()
