"""Who did what, to whom, and who was refused: rows that are only ever appended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from sagas import queries_access

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

log = structlog.get_logger("sagas")

NO_ROLE: Final = "none"
"""What `actor_role` holds for somebody whose tables give him no right to what he tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One deed or refusal. `subject`, `before` and `after` hold ids, codes and counts, no text."""

    at: datetime
    action: str
    actor_role: str
    actor_id: UUID | None = None
    organisation_id: UUID | None = None
    mentor_id: UUID | None = None
    subject: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    request_id: str | None = None


async def record(conn: AsyncConnection[Any], entry: AuditEntry) -> int:
    """Append `entry` in the caller's transaction; returns its id."""
    entry_id = await queries_access.insert_audit(conn, entry)
    log.info(
        "audit.recorded",
        audit_id=entry_id,
        action=entry.action,
        actor_role=entry.actor_role,
        mentor_id=None if entry.mentor_id is None else str(entry.mentor_id),
        outcome=(entry.after or {}).get("outcome"),
    )
    return entry_id
