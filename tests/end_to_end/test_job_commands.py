"""The scheduled work from the command line: jobs, prompts, and schedulers side by side."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sagas.timetable import JOBS, TIMETABLE
from tests.end_to_end.cli import ROOT, SCRIPT
from tests.end_to_end.test_commands import Desk, desk_on
from tests.sagas.scenario_world import history, prompted, scenario

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable
    from pathlib import Path

RULE = {"schema": 1, "anchor": "first_contact", "delay_days": 3,
        "conditions": [{"flag": "wellbeing_concern", "is": True}]}  # fmt: skip


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the database says so; two minutes at most."""
    async with asyncio.timeout(120):
        while not await holds():  # noqa: ASYNC110 - other processes tell us nothing
            await asyncio.sleep(0)


async def test_t3_7_a_preview_needs_no_database_and_leaves_no_trace(
    database: str, tmp_path: Path
) -> None:
    """T3.7, SCN-10: from a file it asks no database; with a stored rule nothing changes."""
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(RULE))
    async with desk_on(database, tmp_path) as desk:
        admin = await desk.world.coordinator(desk.organisation, role="hlf_admin")
        three_days_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        args = ("prompts", "preview", "--occurred-at", three_days_ago, "--language", "en")

        unstored = await desk.terminal.run(
            *args, "--rule", file, "--flag", "wellbeing_concern", DATABASE_URL=None
        )
        defined = await desk.run(
            "prompts", "define", "concern", "--rule", file, "--name", "Concern", "--actor", admin
        )
        before = await counts(desk)
        stored = await desk.json(*args, "--scenario", "concern")
        after = await counts(desk)
        broken = tmp_path / "broken.json"
        broken.write_text('{"schema": 1}')
        refused = await desk.run(*args, "--rule", broken)
        neither = await desk.run(*args)

    assert unstored.code == defined.code == 0
    sentence, sent, to = unstored.out.splitlines()
    assert sentence == "Send 3 days after first contact if wellbeing concern was flagged"
    assert sent.startswith("  would be sent on ")
    assert to.startswith("  to the mentor of the activity: Time to follow up: ")
    assert (stored["sends"], stored["reasons"]) == (
        False, ["The activity does not meet the rule's conditions."]
    )  # fmt: skip
    assert before == after
    assert (refused.code, refused.complaint()[:14]) == (2, "rule refused: ")
    assert neither.code == 2


async def counts(desk: Desk) -> dict[str, int]:
    """How many rows every table of application and engine has."""
    found = {}
    for row in await desk.world.rows(
        "select relid::regclass::text as name from pg_stat_user_tables"
    ):
        rows = await desk.world.conn.execute(f"select count(*) as n from {row['name']}".encode())
        found[row["name"]] = (await rows.fetchall())[0]["n"]
    assert len(found) > 40
    return found


async def test_prompts_are_switched_on_and_run_by_hand(database: str, tmp_path: Path) -> None:
    """SCN-1, SCN-5: `outbox prompts run` is the job's one door, and says how they ended."""
    async with desk_on(database, tmp_path) as desk:
        coordinator = await desk.world.coordinator(desk.organisation)
        await scenario(desk.world, code="talk")
        on = await desk.run("prompts", "enable", "HLF", "talk", "--actor", coordinator)
        listed = await desk.run("prompts", "list", "HLF")
        await desk.world.conn.execute(
            "update scenario_settings set enabled_at = enabled_at - interval '30 days'"
        )
        mentor = await prompted(desk.world, desk.organisation, "ok-1")
        done = await desk.json("prompts", "run")
        off = await desk.run("prompts", "disable", "HLF", "talk", "--actor", coordinator)
        nobody = await desk.run("prompts", "enable", "HLF", "walk", "--actor", coordinator)

        assert on.out.startswith("talk in HLF: on since ")
        assert listed.out.startswith("talk (on since ")
        assert listed.out.endswith("Send 3 dager etter første kontakt\n")
        assert (done["outcome"], done["summary"]["successCount"]) == ("completed", 1)
        assert await history(desk.world) == {mentor: ("dispatched", 1, None)}
        assert off.out == "talk in HLF: off\n"
        assert (nobody.code, nobody.complaint()) == (
            2,
            "there is no scenario 'walk'; `outbox prompts list ORG` shows what there is",
        )


async def test_ops_3_jobs_by_name(database: str, tmp_path: Path) -> None:
    """OPS-3: what cron and systemd call; a failure ends in 1, a wrong name in 2."""
    async with desk_on(database, tmp_path) as desk:
        await desk.mentor(-1)
        never = await desk.json("jobs", "list")
        swept = await desk.json("jobs", "run", "sweep")
        plain = await desk.run("jobs", "run", "credentials")
        desk.portal.outage(status=503)
        failed = await desk.run("jobs", "run", "reconcile")
        wrong = await desk.run("jobs", "run", "party")
        asked = await desk.run("jobs", "request", "prompts")
        checked = await desk.json("jobs", "check", code=1)
        told = await desk.run("jobs", "check")
        listed = await desk.json("jobs", "list")

    assert [row["job"] for row in never] == list(JOBS)
    assert not any(row["ended"] for row in never)
    assert (swept["outcome"], swept["summary"]["paused"]) == ("completed", 1)
    assert plain.out.splitlines()[0] == "credentials completed"
    assert (failed.code, "FAILED reconcile:HLF" in failed.out) == (1, True)
    assert (wrong.code, "there is no job 'party'" in wrong.complaint()) == (2, True)
    assert asked.out.startswith("prompts: asked for at ")
    assert {"nightly", "prompts"} <= set(checked["overdue"])
    assert not {"sweep", "credentials"} & set(checked["overdue"])
    assert checked["failed"] == ["reconcile"]
    assert "nightly: overdue; does `outbox scheduler` run?" in told.out
    standing = {row["job"]: row for row in listed}
    assert standing["sweep"]["ended"]
    assert standing["prompts"]["requested_at"]
    assert not any(row["at_work"] for row in listed)


@pytest.mark.slow
async def test_ded_6_two_schedulers_run_each_job_of_an_instant_once(
    database: str, tmp_path: Path
) -> None:
    """DED-6, OPS-3: what was missed is run once, each request once; SIGTERM ends both."""
    async with desk_on(database, tmp_path) as desk:
        for days in (30, -1):
            await desk.mentor(days)
        both = [await scheduler(desk, tmp_path / f"{number}.log") for number in range(2)]
        try:
            due = {entry.job for entry in TIMETABLE if is_due(entry)}
            await until(lambda: ended(desk, due))
            for _ in range(5):
                at = await desk.world.value("select app.request_job('sweep')")
                await until(lambda at=at: ended_since(desk, "sweep", at))  # type: ignore[misc]
        finally:
            for process in both:
                process.send_signal(signal.SIGTERM)
        codes = [await process.wait() for process in both]
        runs = await desk.world.rows("select job_name, started_at, status from job_runs")
        logs = [(tmp_path / f"{number}.log").read_text() for number in range(2)]

        assert codes == [0, 0], logs
        assert {row["status"] for row in runs} == {"done"}
        requested = [row for row in runs if row["job_name"] == "sweep"]
        others = Counter(
            (entry.job, entry.last(row["started_at"]))
            for row in runs
            for entry in TIMETABLE
            if entry.job == row["job_name"] != "sweep"
        )
        assert due - {"sweep"} <= {job for job, _ in others}
        assert set(others.values()) == {1}
        instants = {TIMETABLE[1].last(row["started_at"]) for row in requested}
        assert 5 + 1 <= len(requested) <= 5 + len(instants)
        assert await desk.world.value("select count(*) from job_locks") == 0
        assert await desk.world.value("select count(*) from mentor_status_history") == 1
        assert all("scheduler.stopped" in log for log in logs), logs


def is_due(entry: Any) -> bool:
    """Whether a job is due for somebody who never ran it."""
    now = datetime.now(UTC)
    return bool(now - entry.last(now) < entry.late_max)


async def ended(desk: Desk, jobs: set[str]) -> bool:
    """Whether each of these jobs has been run."""
    rows = await desk.world.rows("select distinct job_name from job_runs where status = 'done'")
    return jobs <= {row["job_name"] for row in rows}


async def ended_since(desk: Desk, job: str, at: datetime) -> bool:
    """Whether a run since a request has ended."""
    return bool(
        await desk.world.value(
            "select count(*) from job_runs"
            " where job_name = %s and started_at >= %s and status = 'done'",
            job, at,
        )
    )  # fmt: skip


async def scheduler(desk: Desk, log: Path) -> Process:
    """A scheduler in a process of its own that looks five times a second."""
    with log.open("w") as file:
        return await asyncio.create_subprocess_exec(
            str(SCRIPT), "scheduler", "--look-every", "0.2",
            cwd=ROOT, env=dict(desk.terminal.env), stdout=file, stderr=file,
        )  # fmt: skip
