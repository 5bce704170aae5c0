"""The night's work in its order, one run at a time.

Credential checks, lapse sweep, sync drain, reminders, push drain, post-dispatch check, data
quality (PAU-6), and at the end old records of such runs are deleted. Each organisation has a
transaction of its own, and each step ends on its own: what fails is named in the report and the
rest goes on. Running it again is safe at any time (OPS-2).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import structlog

from handlers.commands import AlertOpen
from outbox import Publication, apublish_many
from sagas import auto_pause, queries_jobs, reminders
from sagas.holds import Hold
from sagas.results import (
    ALREADY_RUNNING,
    COMPLETED,
    FAILED,
    DataQuality,
    DispatchSummary,
    NightlyReport,
    OrchestrationResult,
    SweepResult,
)
from sagas.retention import KEPT_FOR, prune_records
from sagas.run import PAGE_SIZE, RunContext
from sagas.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime, timedelta
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_jobs import Duplicate
    from sagas.run import Organisation

log = structlog.get_logger("sagas")

JOB: Final = "nightly"
ALERTS_MAX: Final = 100
"""Alerts one post-dispatch check opens per organisation; the report counts all."""


async def _no_checks() -> Mapping[str, str]:
    return {}


def _no_progress(_stage: str, _facts: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the night is given: connections, the parts of the engine it drives, and a clock.

    `connect` opens a connection for one transaction (a pool's `connection` is one). `drain` runs
    deliveries of the handlers named until none is due and returns how many it settled.
    `check_credentials` makes a fresh, harmless call per integration and returns accepted, rejected
    or unavailable by integration. `progress` is told each step's name and facts as it ends. `sleep`
    waits that many seconds between two renewals of a run's lease. Records of runs and of credential
    checks older than `records_kept_for` are deleted at the end.
    """

    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]
    drain: Callable[[tuple[str, ...]], Awaitable[int]]
    clock: Callable[[], datetime]
    sync_handlers: tuple[str, ...]
    push_handlers: tuple[str, ...]
    check_credentials: Callable[[], Awaitable[Mapping[str, str]]] = _no_checks
    progress: Callable[[str, Mapping[str, Any]], None] = _no_progress
    page_size: int = PAGE_SIZE
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    records_kept_for: timedelta = KEPT_FOR


async def nightly(
    wiring: Wiring,
    *,
    as_of: datetime | None = None,
    run_id: UUID | None = None,
    since: datetime | None = None,
) -> NightlyReport:
    """Do the night's work as of `as_of` (default: the clock's now) and report what was done.

    While another run holds the job's lease nothing is done and the report says `already_running`;
    with `since` (a scheduler's instant) also where a run that began then or later has ended.
    Never raises for a step: a step that failed stands in `failures` and the outcome is `failed`.
    Raises only when the database cannot be reached to begin or to end.
    """
    started_at = wiring.clock()
    run = RunContext(run_id=run_id or uuid4(), now=as_of or started_at, page_size=wiring.page_size)
    hold = Hold(wiring.connect, wiring.clock, JOB, run.run_id, sleep=wiring.sleep)
    if await hold.begin(started_at=started_at, since=since):
        async with hold.kept():
            report = await _Night(wiring, run, started_at).work()
    else:
        report = NightlyReport(run.run_id, ALREADY_RUNNING, started_at, wiring.clock())
        if since is not None:  # every copy of a scheduler comes by: no record of each
            return report
    await hold.end(
        outcome=report.outcome,
        summary=report.as_json(),
        started_at=started_at,
        finished_at=report.finished_at,
        error_class=next(iter(report.failures.values()), None),
    )
    log.info("nightly.completed", run_id=str(run.run_id), outcome=report.outcome)
    return report


@dataclass(slots=True)
class _Night:
    """One run in progress."""

    wiring: Wiring
    run: RunContext
    started_at: datetime
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        """The run's steps."""
        self.stages = Stages(self.wiring.connect, self.wiring.progress, self.run)

    async def work(self) -> NightlyReport:
        """All steps in their order."""
        unchecked: Mapping[str, str] = {}
        credentials = await self.stages.step(
            "credentials", self.wiring.check_credentials, unchecked
        )
        swept = await self.sweep()
        synced = await self.stages.step("sync", self._drain(self.wiring.sync_handlers), 0)
        reminded = await self.stages.each("reminders", self._remind)
        await self.stages.step("push", self._drain(self.wiring.push_handlers), 0)
        duplicates = await self.stages.each("duplicates", self._check_duplicates)
        quality = await self.stages.each("data_quality", self._look_at_data)
        pushes = await self.stages.step("outcomes", self._push_outcomes, DispatchSummary())
        nothing: dict[str, int] = {}
        pruned = await self.stages.step("retention", self._prune, nothing)
        return NightlyReport(
            run_id=self.run.run_id,
            outcome=FAILED if self.stages.failures else COMPLETED,
            started_at=self.started_at,
            finished_at=self.wiring.clock(),
            credentials=credentials,
            sweep=swept,
            synced=synced,
            reminders=reminded,
            pushes=pushes,
            duplicates=sum(duplicates.values()),
            data_quality=sum(quality.values(), DataQuality()),
            pruned=pruned,
            failures=dict(self.stages.failures),
        )

    async def sweep(self) -> SweepResult:
        """Pause who has lapsed, organisation by organisation."""
        swept = await self.stages.each("sweep", self._sweep_one)
        return sum(swept.values(), SweepResult())

    async def _sweep_one(
        self, conn: AsyncConnection[Any], organisation: Organisation
    ) -> SweepResult:
        return await auto_pause.sweep(conn, organisation, self.run)

    async def _remind(
        self, conn: AsyncConnection[Any], organisation: Organisation
    ) -> OrchestrationResult:
        return await reminders.run_reminders(conn, organisation, self.run)

    async def _check_duplicates(
        self, conn: AsyncConnection[Any], organisation: Organisation
    ) -> int:
        """Look for anything told twice tonight and alert (DED-12); how many periods were hit."""
        found = await queries_jobs.duplicate_reminders(
            conn, organisation.id, run_id=self.run.run_id
        )
        await apublish_many(conn, [_alert(organisation, hit) for hit in found[:ALERTS_MAX]])
        return len(found)

    async def _look_at_data(
        self, conn: AsyncConnection[Any], organisation: Organisation
    ) -> DataQuality:
        return await queries_jobs.refresh_findings(conn, organisation.id, now=self.run.now)

    async def _push_outcomes(self) -> DispatchSummary:
        async with self.wiring.connect() as conn, conn.transaction():
            found = await queries_jobs.push_outcomes(conn, run_id=self.run.run_id)
        return DispatchSummary(
            success_count=found.get("delivered", 0),
            failure_count=found.get("failed", 0) + found.get("unknown", 0),
            skipped_count=found.get("no_token", 0) + found.get("cancelled", 0),
        )

    async def _prune(self) -> dict[str, int]:
        before = self.wiring.clock() - self.wiring.records_kept_for
        return await prune_records(self.wiring.connect, before=before)

    def _drain(self, handlers: tuple[str, ...]) -> Callable[[], Awaitable[int]]:
        async def drain() -> int:
            return await self.wiring.drain(handlers)

        return drain


def _alert(organisation: Organisation, hit: Duplicate) -> Publication:
    alert = AlertOpen(
        type="duplicate_dispatch",
        organisation_id=organisation.id,
        mentor_id=hit.mentor_id,
        subject=f"{hit.audience}:{hit.mentor_id}:{hit.tier}",
        severity="critical",
    )
    return Publication(message=alert)
