"""The scheduler's loop in a time of its own: what it begins, what it leaves, how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from structlog.testing import capture_logs

from sagas.jobs import JobRun
from sagas.results import COMPLETED
from sagas.scheduler import LOOK_EVERY, Scheduler
from sagas.timetable import JOBS, TIMETABLE, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class House:
    """A database that remembers runs, and jobs that end when they are told to."""

    now: datetime = MIDNIGHT
    standings: dict[str, Standing] = field(
        default_factory=lambda: dict.fromkeys(JOBS, Standing(ended=MIDNIGHT))
    )
    began: list[tuple[str, datetime]] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    lost: bool = False

    def scheduler(self, **changes: object) -> Scheduler:
        """A scheduler in this house."""
        given = {
            "standings": self.look,
            "start": self.start,
            "clock": lambda: self.now,
            "wait": self.wait,
            **changes,
        }
        return Scheduler(**given)  # type: ignore[arg-type]

    async def look(self) -> Mapping[str, Standing]:
        if self.lost:
            raise OSError
        return dict(self.standings)

    async def start(self, job: str, since: datetime) -> JobRun:
        self.began.append((job, since))
        if job in self.gates:
            await self.gates[job].wait()
        self.standings[job] = Standing(ended=self.now)
        return JobRun(job, uuid4(), COMPLETED, self.now, self.now)

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        """Time passes as far as it was asked to; at three o'clock the word to stop comes."""
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.now >= MIDNIGHT + timedelta(hours=3):
            stop.set()

    def at(self, job: str) -> list[str]:
        """When a job was begun, by the clock."""
        return [since.isoformat()[11:16] for begun, since in self.began if begun == job]


async def test_three_hours_of_the_night_by_the_table() -> None:
    """OPS-1, PAU-7: each job once at each of its instants, none of it early."""
    house = House()

    await house.scheduler().run(asyncio.Event())

    assert house.at("nightly") == ["00:05"]
    assert house.at("reconcile") == ["00:30"]
    assert (
        house.at("sweep")
        == [f"{hour:02}:{minute:02}" for hour in range(3) for minute in (0, 15, 30, 45)][1:]
    )
    assert house.at("credentials") == [
        "00:10", "00:40", "01:10", "01:40", "02:10", "02:40"
    ]  # fmt: skip
    assert house.at("reconcile_light") == ["00:50", "01:50", "02:50"]
    assert house.at("prompts") == []
    assert max(house.waits) == LOOK_EVERY.total_seconds()
    assert min(house.waits) > 0


async def test_what_was_missed_is_made_up_for_in_order_one_call_at_a_time() -> None:
    """DED-6: what calls out queues; the sweep does not wait for it."""
    house = House(now=MIDNIGHT + timedelta(hours=9))
    house.gates["nightly"] = asyncio.Event()
    scheduler = house.scheduler()

    begun = await scheduler.look()
    again = await scheduler.look()
    for _ in range(10):
        await asyncio.sleep(0)

    assert begun == [entry.job for entry in TIMETABLE]
    assert again == []
    assert [job for job, _ in house.began] == ["nightly", "sweep"]
    house.gates["nightly"].set()
    await scheduler.finish()
    assert [job for job, _ in house.began] == [
        "nightly", "sweep", "credentials", "reconcile", "reconcile_light", "prompts"
    ]  # fmt: skip
    assert await scheduler.look() == []


async def test_a_job_that_fails_and_a_database_that_is_away_stop_nothing() -> None:
    """The next look finds what is due; texts of foreign errors stay out of the log."""
    house = House(now=MIDNIGHT + timedelta(hours=2, minutes=59))
    house.lost = True

    async def start(job: str, since: datetime) -> JobRun:
        house.began.append((job, since))
        msg = "secret"
        raise ConnectionError(msg)

    async def wait(stop: asyncio.Event, seconds: float) -> None:
        house.lost = False
        await house.wait(stop, seconds)

    with capture_logs() as logs:
        await house.scheduler(start=start, wait=wait).run(asyncio.Event())

    events = [line["event"] for line in logs]
    assert events[:2] == ["scheduler.started", "scheduler.look_failed"]
    assert events[-1] == "scheduler.stopped"
    assert {line["job"] for line in logs if line["event"] == "job.failed"} >= {"nightly", "sweep"}
    assert "secret" not in str(logs)


async def test_the_word_to_stop_lets_jobs_finish_and_begins_no_other() -> None:
    house, stop = House(), asyncio.Event()
    house.gates["sweep"] = asyncio.Event()
    house.standings["sweep"] = Standing()
    scheduler = house.scheduler()
    running = asyncio.create_task(scheduler.run(stop))
    for _ in range(20):
        await asyncio.sleep(0)
    assert house.began

    stop.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not running.done()
    house.gates["sweep"].set()
    await running

    assert [job for job, _ in house.began] == ["sweep"]
    assert house.standings["sweep"].ended is not None


async def test_what_outlasts_the_grace_is_cut_off_and_not_ended() -> None:
    """It stands as never ended, so the next scheduler does it again."""
    house = House()
    house.gates["sweep"] = asyncio.Event()
    house.standings["sweep"] = Standing()
    scheduler = house.scheduler(grace=timedelta(0))
    assert await scheduler.look() == ["sweep"]
    await asyncio.sleep(0)

    with capture_logs() as logs:
        await scheduler.finish()

    assert house.standings["sweep"].ended is None
    assert [line["event"] for line in logs] == ["job.cut_off"]
    assert logs[0]["job"] == "sweep"


async def test_ops_3_without_a_table_of_its_own_it_serves_requests() -> None:
    """Where pg_cron or somebody else holds the timetable."""
    house = House(now=MIDNIGHT + timedelta(hours=1))
    asked = house.now - timedelta(seconds=3)
    house.standings = {"prompts": Standing(requested_at=asked)}
    scheduler = house.scheduler(own=False)

    assert await scheduler.look() == ["prompts"]
    await scheduler.finish()

    assert house.began == [("prompts", asked)]
