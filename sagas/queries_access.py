"""The statements of what people do by hand: rights, audit, versions of a mentor's visibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.audit import AuditEntry


@dataclass(frozen=True, slots=True)
class LockedMentor:
    """What a decision about a mentor's visibility needs, under his row's lock."""

    organisation_id: UUID
    visibility_channel: str
    visibility_version: int


async def lock_mentor(conn: AsyncConnection[Any], mentor_id: UUID) -> LockedMentor | None:
    """Lock a mentor's row until the transaction ends; None if there is no such mentor."""
    async with conn.cursor(row_factory=class_row(LockedMentor)) as cursor:
        await cursor.execute(statement("lock_mentor"), {"mentor_id": mentor_id})
        return await cursor.fetchone()


async def actor_role(conn: AsyncConnection[Any], *, actor_id: UUID, mentor_id: UUID) -> str | None:
    """The widest role in which the actor may follow up this mentor's sync; None: he may not."""
    params = {"actor_id": actor_id, "mentor_id": mentor_id}
    cursor = await conn.execute(statement("actor_role"), params)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def recent_action(
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    mentor_id: UUID,
    action: str,
    since: datetime,
) -> Mapping[str, Any] | None:
    """What the last such action on this mentor since `since` led to; None: there was none."""
    params = {
        "organisation_id": organisation_id,
        "mentor_id": mentor_id,
        "action": action,
        "since": since,
    }
    cursor = await conn.execute(statement("recent_action"), params)
    row = await cursor.fetchone()
    return None if row is None else dict(row[1])


async def bump_visibility(
    conn: AsyncConnection[Any], mentor_id: UUID, *, at_least: int = 0, reason: str, now: datetime
) -> int | None:
    """Publish a new version of the same state, above ours and `at_least`; None: no channel."""
    params = {"mentor_id": mentor_id, "at_least": at_least, "reason": reason, "now": now}
    cursor = await conn.execute(statement("bump_visibility"), params)
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else int(row[0])


async def insert_audit(conn: AsyncConnection[Any], entry: AuditEntry) -> int:
    """Append `entry`; its id."""
    params = {
        "at": entry.at,
        "actor_id": entry.actor_id,
        "actor_role": entry.actor_role,
        "action": entry.action,
        "organisation_id": entry.organisation_id,
        "mentor_id": entry.mentor_id,
        "subject": Jsonb(dict(entry.subject)),
        "reason": entry.reason,
        "before": None if entry.before is None else Jsonb(dict(entry.before)),
        "after": None if entry.after is None else Jsonb(dict(entry.after)),
        "request_id": entry.request_id,
    }
    cursor = await conn.execute(statement("insert_audit"), params)
    row = await cursor.fetchone()
    assert row is not None, "an insert returns its row"
    return int(row[0])


async def widest_role(
    conn: AsyncConnection[Any], actor_id: UUID, *, organisation_id: UUID | None
) -> str | None:
    """The widest role the actor holds there (None: anywhere); None: he holds none."""
    params = {"actor_id": actor_id, "organisation_id": organisation_id}
    cursor = await conn.execute(statement("widest_role"), params)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def concerned_by_delivery(
    conn: AsyncConnection[Any], delivery_id: int
) -> tuple[str | None, int, int, UUID | None] | None:
    """Key, whether it waits, whether it is dead, its organisation; None: nothing to retry."""
    cursor = await conn.execute(statement("concerned_by_delivery"), {"delivery_id": delivery_id})
    row = await cursor.fetchone()
    return None if row is None else (row[0], int(row[1]), int(row[2]), row[3])


async def insert_credential_check(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    *,
    integration: str,
    checked_at: datetime,
    outcome: str,
    reason: str | None,
    hint: str | None,
    run_id: UUID | None = None,
) -> None:
    """Append what one check gave."""
    params = {
        "integration": integration,
        "checked_at": checked_at,
        "outcome": outcome,
        "reason": reason,
        "hint": hint,
        "run_id": run_id,
    }
    await conn.execute(statement("insert_credential_check"), params)
