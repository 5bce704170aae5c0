"""The scheduled jobs by name: the one door for cron, pg_cron, the scheduler and people (OPS-3).

Every run holds its job's lease (DED-6) and leaves its result in `job_runs` (RES-4). Each job is
safe to run again at any time (OPS-2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import structlog

from sagas import auto_pause, prompts, queries_prompts, reconcile
from sagas.holds import Hold
from sagas.nightly import nightly
from sagas.prompts import Found, result_of
from sagas.results import ALREADY_RUNNING, COMPLETED, FAILED, SweepResult
from sagas.run import RunContext
from sagas.stages import Stages
from sagas.timetable import JOBS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.nightly import Wiring
    from sagas.reconcile import Listing
    from sagas.run import Organisation

log = structlog.get_logger("sagas")

NO_CHANNEL: Final = "none"


class UnknownJob(LookupError):
    """There is no job of this name."""

    def __init__(self, job: str) -> None:
        super().__init__(f"there is no job {job!r}; there are {', '.join(JOBS)}")
        self.job = job


@dataclass(frozen=True, slots=True)
class Parts:
    """What jobs are given beside the night's wiring: the portal's listing of one organisation."""

    wiring: Wiring
    read_portal: Callable[[Organisation], Awaitable[Listing]]


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run; `outcome` is completed, failed or already_running (nothing was done).

    `summary` holds counts and codes, never people. `failures` names what went wrong by step, with
    an error class and no text.
    """

    job: str
    run_id: UUID
    outcome: str
    started_at: datetime
    finished_at: datetime
    summary: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The run as one JSON document."""
        return {
            "job": self.job,
            "run_id": str(self.run_id),
            "outcome": self.outcome,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "summary": dict(self.summary),
            "failures": dict(self.failures),
        }


async def run(
    job: str,
    parts: Parts,
    *,
    as_of: datetime | None = None,
    run_id: UUID | None = None,
    since: datetime | None = None,
) -> JobRun:
    """Run `job` as of `as_of` (default: the clock's now).

    While another run holds its lease nothing is done; with `since` (a scheduler's instant) also
    where a run that began then or later has ended. A step that fails is told in the result and
    leaves the others running. Raises `UnknownJob`, and what the database raises when the run cannot
    even be begun or ended.
    """
    work = _WORK.get(job)
    if work is None and job != "nightly":
        raise UnknownJob(job)
    wiring = parts.wiring
    if work is None:
        report = await nightly(wiring, as_of=as_of, run_id=run_id, since=since)
        return JobRun(
            job, report.run_id, report.outcome, report.started_at, report.finished_at,
            report.as_json(), report.failures,
        )  # fmt: skip
    started_at = wiring.clock()
    context = RunContext(run_id or uuid4(), as_of or started_at, wiring.page_size)
    hold = Hold(wiring.connect, wiring.clock, job, context.run_id, sleep=wiring.sleep)
    if not await hold.begin(started_at=started_at, since=since):
        return await _not_begun(hold, started_at, record=since is None)
    stages = Stages(wiring.connect, wiring.progress, context)
    async with hold.kept():
        summary = await work(parts, stages)
    outcome = FAILED if stages.failures else COMPLETED
    done = JobRun(
        job, context.run_id, outcome, started_at, wiring.clock(), summary, stages.failures
    )
    await _end(hold, done)
    return done


async def _not_begun(hold: Hold, started_at: datetime, *, record: bool) -> JobRun:
    """Another run is at it, or has done it. Copies of a scheduler leave no record of that."""
    refused = JobRun(hold.job, hold.run_id, ALREADY_RUNNING, started_at, hold.clock())
    if record:
        await _end(hold, refused)
    return refused


async def _end(hold: Hold, done: JobRun) -> None:
    await hold.end(
        outcome=done.outcome,
        summary={**done.summary, "failures": dict(done.failures)},
        started_at=done.started_at,
        finished_at=done.finished_at,
        error_class=next(iter(done.failures.values()), None),
    )
    log.info("job.completed", job=done.job, run_id=str(done.run_id), outcome=done.outcome)


async def _sweep(_: Parts, stages: Stages) -> Mapping[str, Any]:
    """Pause who has lapsed (PAU-7); the relay delivers what follows."""

    async def one(conn: AsyncConnection[Any], organisation: Organisation) -> SweepResult:
        return await auto_pause.sweep(conn, organisation, stages.run)

    swept = await stages.each("sweep", one)
    return sum(swept.values(), SweepResult()).as_json()


async def _prompts(parts: Parts, stages: Stages) -> Mapping[str, Any]:
    """Claim what is due, let it out, count how it ended (SCN-1, SCN-5)."""

    async def one(conn: AsyncConnection[Any], organisation: Organisation) -> Found:
        return await prompts.claim_due(conn, organisation, stages.run)

    async def push() -> int:
        return await parts.wiring.drain(parts.wiring.push_handlers)

    async def outcomes() -> dict[str, int]:
        async with parts.wiring.connect() as conn, conn.transaction():
            return await queries_prompts.prompt_outcomes(conn, run_id=stages.run.run_id)

    found = sum((await stages.each("prompts", one)).values(), Found())
    if found.claimed or found.retried:  # SCN-5: nothing due, no calls
        await stages.step("push", push, 0)
    nothing: dict[str, int] = {}
    ended = await stages.step("outcomes", outcomes, nothing)
    for code in found.unusable:
        stages.failures[f"scenario:{code}"] = "InvalidRule"
    return result_of(found, ended).as_json()


async def _credentials(parts: Parts, stages: Stages) -> Mapping[str, Any]:
    """Check every integration's credentials (CRD-1)."""
    unchecked: Mapping[str, str] = {}
    return await stages.step("credentials", parts.wiring.check_credentials, unchecked)


async def _reconcile(parts: Parts, stages: Stages) -> Mapping[str, Any]:
    """Compare every organisation's portal with ours, and repair (RCN-1, RCN-3)."""
    return await _compare(parts, stages, light=False)


async def _reconcile_light(parts: Parts, stages: Stages) -> Mapping[str, Any]:
    """The same without the search for duplicates; a report is kept where something was found."""
    return await _compare(parts, stages, light=True)


async def _compare(parts: Parts, stages: Stages, *, light: bool) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for organisation in await stages.organisations("reconcile"):
        if organisation.visibility_channel == NO_CHANNEL:
            continue

        async def one(organisation: Organisation = organisation) -> dict[str, Any]:
            listing = await parts.read_portal(organisation)
            async with parts.wiring.connect() as conn, conn.transaction():
                report = await reconcile.reconcile(
                    conn, listing, organisation, parts.wiring.clock(),
                    run_id=stages.run.run_id, light=light,
                )  # fmt: skip
            return {
                "complete": report.complete,
                "drift": report.drift,
                "repaired": report.repaired,
                "totals": dict(report.totals),
            }

        compared = await stages.step(f"reconcile:{organisation.code}", one, None)
        if compared is not None:
            found[organisation.code] = compared
            if not compared["complete"]:  # absence proved nothing: the next run has to
                stages.failures[f"reconcile:{organisation.code}"] = "ListingIncomplete"
    return {"organisations": found}


_WORK: Final[Mapping[str, Callable[[Parts, Stages], Awaitable[Mapping[str, Any]]]]] = {
    "sweep": _sweep,
    "credentials": _credentials,
    "reconcile": _reconcile,
    "reconcile_light": _reconcile_light,
    "prompts": _prompts,
}
