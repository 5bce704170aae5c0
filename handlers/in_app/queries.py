"""The SQL of the inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.in_app.rows import InboxRow

_GROUP_ITEMS: Final = load("handlers.in_app", "group_items")
_WRITE_INBOX: Final = load("handlers.in_app", "write_inbox")


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item of a group, with what its group and organisation say about all of them."""

    organisation_id: UUID
    recipient_id: UUID
    status: str
    language: str
    position: int
    mentor_id: UUID
    kind: str
    tier: str | None
    certificate_type: str | None
    reason: str | None
    prompt_id: UUID | None


async def group_items(conn: AsyncConnection[Any], group_id: UUID) -> list[ItemRow]:
    """Return a group's items in their order; none if there is no such group."""
    async with conn.cursor(row_factory=class_row(ItemRow)) as cursor:
        await cursor.execute(_GROUP_ITEMS, {"group_id": group_id})
        return await cursor.fetchall()


async def write_inbox(  # noqa: PLR0913  # the facts of one group
    conn: AsyncConnection[Any],
    *,
    group_id: UUID,
    organisation_id: UUID,
    recipient_id: UUID,
    rows: Sequence[InboxRow],
    now: datetime,
) -> int:
    """Write the rows that are not there yet and return how many that were."""
    params = {
        "group_id": group_id,
        "organisation_id": organisation_id,
        "recipient_id": recipient_id,
        "ids": [row.id for row in rows],
        "positions": [row.position for row in rows],
        "kinds": [row.kind.value for row in rows],
        "tiers": [row.tier for row in rows],
        "mentors": [row.mentor_id for row in rows],
        "titles": [row.text.title for row in rows],
        "bodies": [row.text.body for row in rows],
        "deep_links": [row.deep_link for row in rows],
        "prompts": [row.prompt_id for row in rows],
        "now": now,
    }
    async with conn.cursor() as cursor:
        await cursor.execute(_WRITE_INBOX, params)
        row = await cursor.fetchone()
    assert row is not None  # count(*) always returns a row
    return int(row[0])
