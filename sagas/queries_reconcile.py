"""The statements of reconciliation: our wanted states, and the report that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.reconcile import PortalRow, ReconciliationItem, ReconciliationReport
    from sagas.run import Organisation


@dataclass(frozen=True, slots=True)
class OurState:
    """What we want of one mentor; `changed_at` None: never changed since he was entered."""

    mentor_id: UUID
    version: int
    visible: bool
    changed_at: datetime | None
    pending: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report says beside its items."""

    unknown_pushes: int = 0
    failed_pushes: int = 0
    open_alerts: int = 0
    credential_status: Mapping[str, str] = field(default_factory=dict)


async def visibility_states(
    conn: AsyncConnection[Any], organisation_id: UUID, *, handler: str, now: datetime
) -> dict[UUID, OurState]:
    """Every mentor's wanted state; `pending` is whether `handler` has a delivery outstanding."""
    params = {"organisation_id": organisation_id, "handler": handler, "now": now}
    async with conn.cursor(row_factory=class_row(OurState)) as cursor:
        await cursor.execute(statement("visibility_states"), params)
        return {state.mentor_id: state async for state in cursor}


async def mentors_of_others(
    conn: AsyncConnection[Any], organisation: Organisation, mentor_ids: Sequence[UUID]
) -> set[UUID]:
    """Those of `mentor_ids` whom another organisation on the same portal answers for."""
    if not mentor_ids:
        return set()
    params = {
        "mentor_ids": list(mentor_ids),
        "organisation_id": organisation.id,
        "channel": organisation.visibility_channel,
    }
    cursor = await conn.execute(statement("mentors_of_others"), params)
    return {row[0] async for row in cursor}


async def drift_of_runs(
    conn: AsyncConnection[Any], organisation_id: UUID, *, limit: int
) -> list[tuple[datetime, Mapping[str, int]]]:
    """When each of the newest `limit` reports began and its totals, the oldest first."""
    params = {"organisation_id": organisation_id, "limit": limit}
    cursor = await conn.execute(statement("drift_of_runs"), params)
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def watched_mentors(
    conn: AsyncConnection[Any], organisation_id: UUID, *, saga: str, types: Sequence[str]
) -> dict[UUID, tuple[str, ...]]:
    """The open alerts of `types` of each mentor who has one, or an open instance of `saga`."""
    params = {"organisation_id": organisation_id, "saga": saga, "types": list(types)}
    cursor = await conn.execute(statement("watched_mentors"), params)
    return {mentor_id: tuple(alerts) for mentor_id, alerts in await cursor.fetchall()}


async def report_facts(conn: AsyncConnection[Any], organisation_id: UUID) -> Facts:
    """Counts and check results of this moment."""
    async with conn.cursor(row_factory=class_row(Facts)) as cursor:
        await cursor.execute(statement("report_facts"), {"organisation_id": organisation_id})
        return await cursor.fetchone() or Facts()


async def insert_report(
    conn: AsyncConnection[Any],
    report: ReconciliationReport,
    *,
    organisation_id: UUID,
    run_id: UUID | None,
) -> None:
    """Keep `report` and its items."""
    params = {
        "report_id": report.report_id,
        "organisation_id": organisation_id,
        "run_id": run_id,
        "dry_run": report.dry_run,
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "complete": report.complete,
        "totals": Jsonb(report.totals),
        "repaired": report.repaired,
        "duplicates": Jsonb([each.model_dump(mode="json") for each in report.duplicates]),
        "unknown_pushes": report.unknown_pushes,
        "failed_pushes": report.failed_pushes,
        "open_alerts": report.open_alerts,
        "credential_status": Jsonb(dict(report.credential_status)),
    }
    await conn.execute(statement("insert_report"), params)
    await _insert_items(conn, report.report_id, report.items)


async def record_observations(
    conn: AsyncConnection[Any], rows: Sequence[PortalRow], *, snapshot_at: datetime
) -> None:
    """Remember what the portal held and showed at `snapshot_at`; older news is dropped."""
    params = {
        "mentor_ids": [row.mentor_id for row in rows],
        "versions": [row.version for row in rows],
        "visibles": [row.visible for row in rows],
        "publisheds": [row.published_visible for row in rows],
        "snapshot_at": snapshot_at,
    }
    await conn.execute(statement("record_observations"), params)


async def _insert_items(
    conn: AsyncConnection[Any], report_id: UUID, items: Sequence[ReconciliationItem]
) -> None:
    params = {
        "report_id": report_id,
        "mentor_ids": [item.mentor_id for item in items],
        "verdicts": [item.verdict.value for item in items],
        "our_versions": [item.our_version for item in items],
        "our_visibles": [item.our_visible for item in items],
        "portal_versions": [item.portal_version for item in items],
        "portal_visibles": [item.portal_visible for item in items],
        "published_visibles": [item.published_visible for item in items],
        "lags": [item.lag_seconds for item in items],
        "actions": [item.action.value for item in items],
        "event_ids": [item.event_id for item in items],
    }
    await conn.execute(statement("insert_report_items"), params)
