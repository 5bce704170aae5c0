"""The night's work in its order, one run at a time.

Credential checks, lapse sweep, sync drain, reminders, push drain, post-dispatch check, data
quality. Each organisation has a transaction of its own, and each step ends on its own: what fails
is named in the report and the rest goes on. Running it again is safe at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import structlog

from handlers.commands import AlertOpen
from outbox import Publication, apublish_many
from sagas import auto_pause, queries, queries_jobs, reminders
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
from sagas.run import PAGE_SIZE, RunContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_jobs import Duplicate
    from sagas.run import Organisation

log = structlog.get_logger("sagas")

JOB: Final = "nightly"
LEASE: Final = timedelta(minutes=30)
"""How long a run may be silent before another may take over; renewed at each step."""

ALERTS_MAX: Final = 100
"""Alerts one post-dispatch check opens per organisation; the report counts all."""

_T = TypeVar("_T")


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
    or unavailable by integration. `progress` is told each step's name and facts as it ends.
    """

    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]
    drain: Callable[[tuple[str, ...]], Awaitable[int]]
    clock: Callable[[], datetime]
    sync_handlers: tuple[str, ...]
    push_handlers: tuple[str, ...]
    check_credentials: Callable[[], Awaitable[Mapping[str, str]]] = _no_checks
    progress: Callable[[str, Mapping[str, Any]], None] = _no_progress
    page_size: int = PAGE_SIZE


async def nightly(
    wiring: Wiring, *, as_of: datetime | None = None, run_id: UUID | None = None
) -> NightlyReport:
    """Do the night's work as of `as_of` (default: the clock's now) and report what was done.

    While another run holds the job's lease nothing is done and the report says `already_running`.
    Never raises for a step: a step that failed stands in `failures` and the outcome is `failed`.
    Raises only when the database cannot be reached to begin or to end.
    """
    started_at = wiring.clock()
    run = RunContext(run_id=run_id or uuid4(), now=as_of or started_at, page_size=wiring.page_size)
    night = _Night(wiring, run, started_at)
    if not await night.begin():
        report = NightlyReport(run.run_id, ALREADY_RUNNING, started_at, wiring.clock())
        await night.end(report)
        return report
    report = await night.work()
    await night.end(report)
    return report


async def sweep_all(wiring: Wiring, run: RunContext) -> tuple[SweepResult, Mapping[str, str]]:
    """Sweep every organisation, each in its own transaction; the sum, and what failed."""
    night = _Night(wiring, run, wiring.clock())
    return await night.sweep(), night.failures


@dataclass(slots=True)
class _Night:
    """One run in progress."""

    wiring: Wiring
    run: RunContext
    started_at: datetime
    leased: bool = False
    failures: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> bool:
        """Take the job's lease and record the run. False: another run is at work."""
        async with self.wiring.connect() as conn, conn.transaction():
            if not await self._take_lease(conn):
                return False
            self.leased = True
            await queries_jobs.start_run(conn, run_id=self.run.run_id, job=JOB, now=self.started_at)
        return True

    async def end(self, report: NightlyReport) -> None:
        """Record the report; let the next run begin."""
        status = {COMPLETED: "done", FAILED: "failed"}.get(report.outcome, report.outcome)
        async with self.wiring.connect() as conn, conn.transaction():
            await queries_jobs.finish_run(
                conn,
                run_id=self.run.run_id,
                job=JOB,
                status=status,
                summary=report.as_json(),
                started_at=self.started_at,
                finished_at=report.finished_at,
                error_class=next(iter(report.failures.values()), None),
            )
            await queries_jobs.drop_lease(conn, job=JOB, holder=self.run.run_id)
        log.info("nightly.completed", run_id=str(self.run.run_id), outcome=report.outcome)

    async def work(self) -> NightlyReport:
        """All steps in their order."""
        unchecked: Mapping[str, str] = {}
        credentials = await self._step("credentials", self.wiring.check_credentials, unchecked)
        swept = await self.sweep()
        synced = await self._step("sync", self._drain(self.wiring.sync_handlers), 0)
        reminded = await self._each("reminders", self._remind)
        await self._step("push", self._drain(self.wiring.push_handlers), 0)
        duplicates = await self._each("duplicates", self._check_duplicates)
        quality = await self._each("data_quality", self._look_at_data)
        pushes = await self._step("outcomes", self._push_outcomes, DispatchSummary())
        return NightlyReport(
            run_id=self.run.run_id,
            outcome=FAILED if self.failures else COMPLETED,
            started_at=self.started_at,
            finished_at=self.wiring.clock(),
            credentials=credentials,
            sweep=swept,
            synced=synced,
            reminders=reminded,
            pushes=pushes,
            duplicates=sum(duplicates.values()),
            data_quality=sum(quality.values(), DataQuality()),
            failures=dict(self.failures),
        )

    async def sweep(self) -> SweepResult:
        """Pause who has lapsed, organisation by organisation."""
        swept = await self._each("sweep", self._sweep_one)
        return sum(swept.values(), SweepResult())

    async def _each(
        self,
        stage: str,
        work: Callable[[AsyncConnection[Any], Organisation], Awaitable[_T]],
    ) -> dict[str, _T]:
        """Run `work` for every organisation in a transaction of its own; results by code."""
        results: dict[str, _T] = {}
        nobody: list[Organisation] = []
        for organisation in await self._step(f"{stage}:organisations", self._organisations, nobody):
            name = f"{stage}:{organisation.code}"

            async def one(organisation: Organisation = organisation) -> _T:
                async with self.wiring.connect() as conn, conn.transaction():
                    return await work(conn, organisation)

            found = await self._step(name, one, None)
            if found is not None:
                results[organisation.code] = found
        return results

    async def _step(self, name: str, work: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
        """Run one step; a failure is named, logged by class alone, and gives `otherwise`."""
        try:
            found = await work()
        except Exception as error:  # noqa: BLE001 - a step ends here, the night goes on
            self.failures[name] = type(error).__name__
            log.error(  # noqa: TRY400 - a foreign text may quote values
                "nightly.step_failed",
                run_id=str(self.run.run_id),
                step=name,
                error_class=type(error).__name__,
                sqlstate=getattr(error, "sqlstate", None),
            )
            return otherwise
        self.wiring.progress(name, _facts(found))
        return found

    async def _organisations(self) -> list[Organisation]:
        """All organisations; the lease is renewed on the way, so a long night keeps it."""
        async with self.wiring.connect() as conn, conn.transaction():
            if self.leased:
                await self._take_lease(conn)
            return await queries.list_organisations(conn)

    async def _take_lease(self, conn: AsyncConnection[Any]) -> bool:
        return await queries_jobs.take_lease(
            conn, job=JOB, holder=self.run.run_id, now=self.wiring.clock(), lease=LEASE
        )

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
        """Look for anything told twice tonight and alert; how many periods were hit."""
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


def _facts(found: object) -> Mapping[str, Any]:
    """What a terminal may show of a step's result."""
    match found:
        case OrchestrationResult() | SweepResult() | DispatchSummary() | DataQuality():
            return found.as_json()
        case int():
            return {"count": found}
        case dict():
            return found
        case list():
            return {"count": len(found)}
        case _:
            return {}
