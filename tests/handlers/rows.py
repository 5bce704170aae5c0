"""Rows that handlers' tests need, made in a few words; every call commits with its caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

if TYPE_CHECKING:
    import psycopg

NOW = datetime(2026, 3, 2, 0, 5, 4, tzinfo=UTC)


def organisation(
    conn: psycopg.Connection[Any], *, channel: str = "webhook", language: str = "nb"
) -> UUID:
    """An organisation with the given portal channel."""
    made = uuid4()
    conn.execute(
        "insert into public.organisations (id, code, name, visibility_channel, language)"
        " values (%s, 'HLF', 'HLF', %s, %s)",
        (made, channel, language),
    )
    return made


def mentor(conn: psycopg.Connection[Any], organisation_id: UUID) -> UUID:
    """An active mentor nothing was ever said about to the portal."""
    made = uuid4()
    conn.execute(
        "insert into public.peer_mentors (id, organisation_id) values (%s, %s)",
        (made, organisation_id),
    )
    return made


def pause(conn: psycopg.Connection[Any], mentor_id: UUID) -> int:
    """Pause a mentor by hand and return the version that was published."""
    row = conn.execute(
        "select version from app.pause_mentor(%s, %s, 'asked', %s)", (mentor_id, mentor_id, NOW)
    ).fetchone()
    assert row is not None
    return int(row[0])


def bump(conn: psycopg.Connection[Any], mentor_id: UUID, *, at_least: int = 0) -> int:
    """Count a version up and publish the state again."""
    row = conn.execute(
        "select app.bump_visibility(%s, %s, 'force_sync', %s)", (mentor_id, at_least, NOW)
    ).fetchone()
    assert row is not None
    return int(row[0])


def published(conn: psycopg.Connection[Any], topic: str) -> list[dict[str, Any]]:
    """The payloads published on a topic, oldest first."""
    found = conn.execute(
        "select payload from outbox.message where topic = %s order by id", (topic,)
    ).fetchall()
    return [row[0] for row in found]
