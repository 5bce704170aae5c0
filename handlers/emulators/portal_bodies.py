"""The emulated portal's JSON, by hand from the contract and not from our models; and its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from handlers.emulators.portal_faults import Route
    from handlers.emulators.portal_store import Row


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it arrived and the status it got; None where no answer was sent."""

    at: datetime
    route: Route
    mentor_id: UUID | None
    version: int | None
    visible: bool | None
    webhook_id: str | None
    status: int | None
    outcome: str | None
    body: bytes = b""


def row_body(row: Row) -> dict[str, object]:
    """One mentor as every successful answer shows him."""
    return {
        "mentor_id": str(row.mentor_id),
        "version": row.stored.version,
        "visible": row.stored.visible,
        "stored_at": utc(row.stored.stored_at),
        "published_version": row.published.version if row.published else None,
        "published_visible": row.published.visible if row.published else None,
        "published_at": utc(row.published_at) if row.published_at else None,
    }


def error_body(code: str, current: dict[str, object] | None = None) -> bytes:
    """A refusal; `current` is what is stored where a version is refused."""
    error: dict[str, object] = {"code": code, "message": f"{code} (emulated)"}
    if current:
        error["current"] = current
    return json.dumps({"error": error}).encode()


def outcome_in(body: object) -> str | None:
    """Read back what an answer said it did, for the log."""
    if not isinstance(body, bytes):
        return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    outcome = parsed.get("outcome") if isinstance(parsed, dict) else None
    return outcome if isinstance(outcome, str) else None


def utc(at: datetime) -> str:
    """RFC 3339 with a `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
