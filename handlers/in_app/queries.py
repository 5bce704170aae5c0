"""The SQL of the inbox."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.in_app.rows import InboxRow

_GROUP_ITEMS: Final = load("handlers.in_app", "group_items")
_WRITE_INBOX: Final = load("handlers.in_app", "write_inbox")


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item of a group, with what its group and organisation say about all of them."""

    group_id: UUID
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


async def group_items(
    conn: AsyncConnection[Any], group_ids: Collection[UUID]
) -> dict[UUID, list[ItemRow]]:
    """The items of groups in their order; a group that has none, or does not exist, is left out."""
    found: defaultdict[UUID, list[ItemRow]] = defaultdict(list)
    async with conn.cursor(row_factory=class_row(ItemRow)) as cursor:
        await cursor.execute(_GROUP_ITEMS, {"group_ids": list(group_ids)})
        for item in await cursor.fetchall():
            found[item.group_id].append(item)
    return found


async def write_inbox(
    conn: AsyncConnection[Any], rows: Sequence[InboxRow], *, now: datetime
) -> dict[UUID, int]:
    """Write the rows that are not there yet; how many those were, by group."""
    params = {
        "ids": [row.id for row in rows],
        "groups": [row.group_id for row in rows],
        "positions": [row.position for row in rows],
        "organisations": [row.organisation_id for row in rows],
        "recipients": [row.recipient_id for row in rows],
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
        return {group_id: int(count) async for group_id, count in cursor}
