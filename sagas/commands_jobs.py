"""`outbox jobs` and `outbox scheduler`: the scheduled work, once by hand or all day by itself."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import ConfigurationError
from sagas import jobs, queries_jobs
from sagas.commands import application, commands, instant_of, progress_shown
from sagas.results import ALREADY_RUNNING, COMPLETED
from sagas.scheduler import LOOK_EVERY, Scheduler
from sagas.timetable import JOBS, TIMETABLE, overdue
from sagas.wiring import job_parts, open_checked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sagas.timetable import Standing
    from sagas.wiring import Application

job_commands = typer.Typer(no_args_is_help=True, help="The scheduled work, job by job.")


@job_commands.command("run")
def run_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help=", ".join(JOBS))],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Instant with zone, e.g. 2026-03-02T00:05:00Z.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run one job now. Safe to run again; ends at once while another run of it is at work."""
    if name not in JOBS:
        raise ConfigurationError(str(jobs.UnknownJob(name)))
    app, dsn, instant = application(context), settings().required_database_url(), instant_of(as_of)

    async def act() -> jobs.JobRun:
        async with open_checked(dsn):
            pass
        with progress_shown(name) as progress:
            return await jobs.run(name, job_parts(app, dsn, progress), as_of=instant)

    done = asyncio.run(act())
    if as_json:
        print_json(done.as_json())
    else:
        out().print(f"{name} {done.outcome}", markup=False)
        for fact, value in done.summary.items():
            out().print(f"  {fact}: {value}", markup=False)
        for step, error in done.failures.items():
            out().print(f"  FAILED {step}: {error}", markup=False)
    if done.outcome not in (COMPLETED, ALREADY_RUNNING):
        raise typer.Exit(1)


@job_commands.command("list")
def list_command(context: typer.Context, as_json: AsJson = False) -> None:
    """The timetable, and how each job stands."""
    now = application(context).clock.now()
    standings = asyncio.run(_standings(settings().required_database_url()))
    rows = [_row(entry.job, standings, entry.next(now), now) for entry in TIMETABLE]
    if as_json:
        print_json(rows)
        return
    table = Table("job", "last run that ended began", "at work", "asked for", "next instant")
    for row in rows:
        table.add_row(
            row["job"], row["ended"] or "never", "yes" if row["at_work"] else "no",
            row["requested_at"] or "-", row["next"],
        )  # fmt: skip
    out().print(table)


@job_commands.command("check")
def check_command(context: typer.Context, as_json: AsJson = False) -> None:
    """For monitoring: exit 1 if a job is overdue or its last run failed; 0 and silence if not."""
    now = application(context).clock.now()
    standings = asyncio.run(_standings(settings().required_database_url()))
    late = overdue(TIMETABLE, standings, now)
    failed = [job for job in JOBS if standings[job].failures]
    if as_json:
        print_json({"overdue": late, "failed": failed})
    else:
        for job in late:
            out().print(f"{job}: overdue; does `outbox scheduler` run?", markup=False)
        for job in failed:
            out().print(f"{job}: its last run failed; job_runs.summary tells where", markup=False)
    if late or failed:
        raise typer.Exit(1)


@job_commands.command("request")
def request_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help=", ".join(JOBS))],
) -> None:
    """Ask the running schedulers for one run of a job; what pg_cron does by `app.request_job`."""
    if name not in JOBS:
        raise ConfigurationError(str(jobs.UnknownJob(name)))
    now = application(context).clock.sql_now()

    async def act() -> datetime:
        async with open_checked(settings().required_database_url()) as conn:
            return await queries_jobs.request_job(conn, name, now=now)

    at = asyncio.run(act())
    out().print(f"{name}: asked for at {at.isoformat()}; a scheduler finds it with its next look")


@commands.command("scheduler")
def scheduler_command(
    context: typer.Context,
    requests_only: Annotated[
        bool,
        typer.Option("--requests-only", help="No timetable of its own; pg_cron or people ask."),
    ] = False,
    look_every: Annotated[
        float, typer.Option("--look-every", min=0.1, max=60, help="Seconds between two looks.")
    ] = LOOK_EVERY.total_seconds(),
) -> None:
    """Run the scheduled jobs all day; any number of copies. SIGTERM lets what runs finish."""
    app, dsn = application(context), settings().required_database_url()
    asyncio.run(_schedule(app, dsn, own=not requests_only, look_every=look_every))


async def _schedule(app: Application, dsn: str, *, own: bool, look_every: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_checked(dsn):
        pass
    parts = job_parts(app, dsn, lambda _stage, _facts: None, stop=stop)

    async def start(job: str, since: datetime) -> jobs.JobRun:
        return await jobs.run(job, parts, since=since)

    async def standings() -> Mapping[str, Standing]:
        async with parts.wiring.connect() as conn:
            return await queries_jobs.job_standings(conn, JOBS)

    await Scheduler(
        standings=standings,
        start=start,
        clock=app.clock.now,
        own=own,
        look_every=timedelta(seconds=look_every),
    ).run(stop)


async def _standings(dsn: str) -> Mapping[str, Standing]:
    async with open_checked(dsn) as conn:
        return await queries_jobs.job_standings(conn, JOBS)


def _row(
    job: str, standings: Mapping[str, Standing], upcoming: datetime, now: datetime
) -> dict[str, Any]:
    standing = standings[job]
    return {
        "job": job,
        "ended": standing.ended and standing.ended.isoformat(),
        "at_work": standing.held_until is not None and standing.held_until > now,
        "requested_at": standing.requested_at and standing.requested_at.isoformat(),
        "next": upcoming.isoformat(),
    }
