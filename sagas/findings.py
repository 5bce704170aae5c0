"""What is wrong with the data: findings for admins, open while true, closed once right (REC-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from sagas import queries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")


async def note_missing(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    missing: Mapping[UUID, int],
    run: RunContext,
) -> None:
    """Warn about, and keep as findings, mentors without coordinator and who stood in (REC-4)."""
    for mentor_id, step in missing.items():
        log.warning(
            "missing_coordinator_assignment",
            run_id=str(run.run_id),
            mentor_id=str(mentor_id),
            step=step,
        )
    await queries.note_missing_coordinators(conn, organisation.id, missing, now=run.now)
