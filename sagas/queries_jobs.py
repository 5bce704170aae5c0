"""The statements of scheduled runs: leases, run records, findings, duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sagas.results import DataQuality
from sagas.statements import statement
from sagas.timetable import Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from psycopg import AsyncConnection


_PRUNED: Final = {
    "job_runs": "prune_job_runs",
    "credential_checks": "prune_credential_checks",
}


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One certificate period for which the same thing happened more than once.

    `kind` is reminder, push or pause; `recipient_id` is set for pushes only.
    """

    kind: str
    recipient_id: UUID | None
    audience: str
    mentor_id: UUID
    certification_id: UUID | None
    tier: str
    occurrences: int


async def plan_plainly(conn: AsyncConnection[Any]) -> None:
    """Compile no plan for the rest of the transaction."""
    await conn.execute(statement("plan_plainly"))


async def take_lease(
    conn: AsyncConnection[Any], *, job: str, holder: UUID, now: datetime, lease: timedelta
) -> bool:
    """Become, or stay, the one run of `job` until `now + lease`. False: somebody else is."""
    params = {"job": job, "holder": holder, "now": now, "until": now + lease}
    cursor = await conn.execute(statement("take_lease"), params)
    return await cursor.fetchone() is not None


async def drop_lease(conn: AsyncConnection[Any], *, job: str, holder: UUID) -> None:
    """Let the next run of `job` begin, if the lease is still ours."""
    await conn.execute(statement("drop_lease"), {"job": job, "holder": holder})


async def ended_since(conn: AsyncConnection[Any], job: str, *, since: datetime) -> bool:
    """Whether a run of `job` that began at `since` or later has ended, well or not."""
    cursor = await conn.execute(statement("ended_since"), {"job": job, "since": since})
    row = await cursor.fetchone()
    return bool(row and row[0])


async def job_standings(conn: AsyncConnection[Any], jobs: Collection[str]) -> dict[str, Standing]:
    """How each of `jobs` stands."""
    cursor = await conn.execute(statement("job_standings"), {"jobs": list(jobs)})
    return {
        job: Standing(ended, held_until, requested_at, failures)
        async for job, ended, held_until, requested_at, failures in cursor
    }


async def request_job(
    conn: AsyncConnection[Any], job: str, *, requested_by: UUID | None = None, now: datetime | None
) -> datetime:
    """Ask the schedulers for a run of `job`; since when it is asked for (None: the database's now).

    Raises a check violation for a job nobody knows. Nothing is asked until the caller commits.
    """
    params = {"job": job, "requested_by": requested_by, "now": now}
    row = await (await conn.execute(statement("request_job"), params)).fetchone()
    assert row is not None, "the function returns one value"
    at: datetime = row[0]
    return at


async def start_run(
    conn: AsyncConnection[Any],
    *,
    run_id: UUID,
    job: str,
    now: datetime,
    organisation_id: UUID | None = None,
) -> None:
    """Record that run `run_id` of `job` began."""
    params = {"run_id": run_id, "job": job, "now": now, "organisation_id": organisation_id}
    await conn.execute(statement("start_run"), params)


async def finish_run(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    *,
    run_id: UUID,
    job: str,
    status: str,
    summary: Mapping[str, Any],
    started_at: datetime,
    finished_at: datetime,
    error_class: str | None = None,
) -> None:
    """Record how a run ended; `status` is done, failed or already_running."""
    params = {
        "run_id": run_id,
        "job": job,
        "status": status,
        "summary": Jsonb(summary),
        "started_at": started_at,
        "finished_at": finished_at,
        "error_class": error_class,
    }
    await conn.execute(statement("finish_run"), params)


async def prune(conn: AsyncConnection[Any], table: str, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` old rows of `job_runs` or `credential_checks`; how many went."""
    text = statement(_PRUNED[table])
    return (await conn.execute(text, {"before": before, "limit": limit})).rowcount


async def push_outcomes(conn: AsyncConnection[Any], *, run_id: UUID) -> dict[str, int]:
    """How many groups of the run are in each status."""
    cursor = await conn.execute(statement("push_outcomes"), {"run_id": run_id})
    return {status: count async for status, count in cursor}


async def refresh_findings(
    conn: AsyncConnection[Any], organisation_id: UUID, *, now: datetime
) -> DataQuality:
    """Look at the organisation's data once: open what is wrong, close what was put right."""
    params = {"organisation_id": organisation_id, "now": now}
    async with conn.cursor(row_factory=class_row(DataQuality)) as cursor:
        await cursor.execute(statement("refresh_findings"), params)
        return await cursor.fetchone() or DataQuality()


async def duplicate_reminders(
    conn: AsyncConnection[Any], organisation_id: UUID, *, run_id: UUID | None = None
) -> list[Duplicate]:
    """Periods reminded or told twice; with `run_id` only those the run touched."""
    params = {"organisation_id": organisation_id, "run_id": run_id}
    async with conn.cursor(row_factory=class_row(Duplicate)) as cursor:
        await cursor.execute(statement("duplicate_reminders"), params)
        return await cursor.fetchall()


async def duplicate_pauses(conn: AsyncConnection[Any], organisation_id: UUID) -> list[Duplicate]:
    """Periods for which a mentor was paused automatically more than once."""
    async with conn.cursor(row_factory=class_row(Duplicate)) as cursor:
        await cursor.execute(statement("duplicate_pauses"), {"organisation_id": organisation_id})
        return await cursor.fetchall()
