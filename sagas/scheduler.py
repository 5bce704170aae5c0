"""Runs the scheduled jobs all day: a loop over a table of instants and the jobs' lease rows.

Any number of copies may run on one database. Each finds the same jobs due; a job's lease lets one
of them begin, and whoever comes later finds that the instant's run has ended (DED-6). A copy that
dies frees its jobs when their leases run out; what was missed while none ran is made up for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from psycopg import Error

from outbox.errors import OutboxError
from sagas.results import ALREADY_RUNNING
from sagas.timetable import TIMETABLE, due, next_instant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from sagas.jobs import JobRun
    from sagas.timetable import Due, Entry, Standing

log = structlog.get_logger("sagas")

LOOK_EVERY: Final = timedelta(seconds=20)
"""How often a scheduler looks: for requests, dead copies, and clocks that were set."""
GRACE: Final = timedelta(seconds=60)
"""How long jobs may go on after the word to stop; what is cut off, the next one does again."""


async def wait_for(stop: asyncio.Event, seconds: float) -> None:
    """Wait until `stop` is set, `seconds` at most."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """One copy.

    `standings` asks the database how the jobs stand; `start` runs one job, `since` being the
    instant it is due for; `wait` waits until stopped or so many seconds. `own` False: only what is
    asked for is run, for those whose timetable lies elsewhere (pg_cron).
    """

    standings: Callable[[], Awaitable[Mapping[str, Standing]]]
    start: Callable[[str, datetime], Awaitable[JobRun]]
    clock: Callable[[], datetime]
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for
    table: Sequence[Entry] = TIMETABLE
    own: bool = True
    look_every: timedelta = LOOK_EVERY
    grace: timedelta = GRACE
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _line: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; jobs under way are let finish, within the grace."""
        log.info("scheduler.started", jobs=[entry.job for entry in self.table], own=self.own)
        while not stop.is_set():
            try:
                await self.look()
            except (Error, OSError, OutboxError) as error:  # the next look may find it back
                log.error(  # noqa: TRY400 - a foreign text may quote values
                    "scheduler.look_failed",
                    error_class=type(error).__name__,
                    sqlstate=getattr(error, "sqlstate", None),
                )
            await self.wait(stop, self._idle().total_seconds())
        await self.finish()
        log.info("scheduler.stopped")

    async def look(self) -> list[str]:
        """Begin what is due and not under way here; the jobs begun. Tests drive this one."""
        standings = await self.standings()
        begun = []
        for each in due(self.table, standings, self.clock(), own=self.own):
            job = each.entry.job
            if job not in self._running:
                self._running[job] = asyncio.create_task(self._do(each), name=job)
                begun.append(job)
        return begun

    async def finish(self) -> None:
        """Wait for the jobs under way; cut off what takes longer than the grace."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running.values(), timeout=self.grace.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in late:
            log.warning("job.cut_off", job=task.get_name())

    async def _do(self, each: Due) -> None:
        try:
            if each.entry.calls_out:
                async with self._line:
                    done = await self.start(each.entry.job, each.since)
            else:
                done = await self.start(each.entry.job, each.since)
        except Exception as error:  # noqa: BLE001 - the job ends here, the scheduler goes on
            log.error(  # noqa: TRY400 - a foreign text may quote values
                "job.failed",
                job=each.entry.job,
                since=each.since.isoformat(),
                error_class=type(error).__name__,
                sqlstate=getattr(error, "sqlstate", None),
            )
        else:
            if done.outcome != ALREADY_RUNNING:
                log.info(
                    "job.served",
                    job=each.entry.job,
                    since=each.since.isoformat(),
                    outcome=done.outcome,
                    failures=dict(done.failures),
                )
        finally:
            del self._running[each.entry.job]

    def _idle(self) -> timedelta:
        now = self.clock()
        if not self.own:
            return self.look_every
        return min(self.look_every, next_instant(self.table, now) - now)
