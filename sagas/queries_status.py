"""The statements behind notices of a changed status, one typed function each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One change of a mentor's status; news while it stands and nobody has told of it."""

    change_id: int
    mentor_id: UUID
    organisation_id: UUID
    to_status: str
    source: str
    actor_id: UUID | None
    version: int
    at: datetime
    is_news: bool


async def status_changes(
    conn: AsyncConnection[Any], change_ids: Collection[int]
) -> dict[int, StatusChange]:
    """Changes by id; those of mentors who are gone are left out."""
    async with conn.cursor(row_factory=class_row(StatusChange)) as cursor:
        await cursor.execute(statement("status_changes"), {"change_ids": list(change_ids)})
        return {change.change_id: change for change in await cursor.fetchall()}


async def unconfirmed_syncs(
    conn: AsyncConnection[Any], mentor_ids: Collection[UUID]
) -> dict[UUID, UUID]:
    """The mentors with an open alert about their way to the portal, and their organisations."""
    cursor = await conn.execute(statement("unconfirmed_syncs"), {"mentor_ids": list(mentor_ids)})
    return {mentor_id: organisation_id async for mentor_id, organisation_id in cursor}


async def organisation_admins(
    conn: AsyncConnection[Any], organisation_id: UUID
) -> tuple[UUID, ...]:
    """The active administrators of one organisation."""
    params = {"organisation_id": organisation_id}
    cursor = await conn.execute(statement("organisation_admins"), params)
    return tuple([user_id async for (user_id,) in cursor])
