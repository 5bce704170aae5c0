"""The recipes of docs/scheduling.md: every job at its instants, and SQL that does what is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from sagas.timetable import JOBS, TIMETABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text(encoding="utf-8")
DAY = datetime(2026, 3, 2, tzinfo=UTC)
PG_CRON = """
create schema cron;
create table cron.job (name text primary key, schedule text not null, command text not null);
create function cron.schedule(name text, schedule text, command text) returns void
language sql as $$ insert into cron.job values (name, schedule, command) $$;
"""
"""What pg_cron is to whoever schedules: a name, a time and a statement it will run."""


def block(after: str, language: str = "") -> str:
    """The first code block of a language after a heading."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.partition(after)[2], re.DOTALL)
    assert found is not None, after
    return found[1]


def instants(schedule: str) -> Iterator[datetime]:
    """When a cron expression of minutes and hours is due within a day."""
    minutes, hours, *rest = schedule.split()
    assert rest == ["*", "*", "*"]
    for minute in range(24 * 60):
        at = DAY + timedelta(minutes=minute)
        if matches(minutes, at.minute) and matches(hours, at.hour):
            yield at


def matches(field: str, value: int) -> bool:
    """Whether one field of a cron expression takes a value."""
    every = field.removeprefix("*/")
    if every != field:
        return value % int(every) == 0
    return field == "*" or value in map(int, field.split(","))


def of_the_table(job: str) -> list[datetime]:
    """When the timetable has a job due within the same day."""
    (entry,) = (each for each in TIMETABLE if each.job == job)
    first = entry.next(DAY - timedelta(seconds=1))
    found = [first + count * entry.period for count in range(24 * 60)]
    return [at for at in found if at < DAY + timedelta(days=1)]


def test_ops_3_the_crontab_has_the_instants_of_the_timetable() -> None:
    """OPS-1, OPS-3: the same six jobs at the same minutes, whoever starts them."""
    lines = re.findall(r"(?m)^((?:\S+\s+){4}\S+)\s+cd .*outbox jobs run (\w+)$", block("With cron"))

    assert [job for _, job in lines] == list(JOBS)
    for schedule, job in lines:
        assert list(instants(schedule)) == of_the_table(job), job


def test_the_page_names_every_job_once_in_its_table() -> None:
    assert re.findall(r"(?m)^\| `(\w+)` \|", PAGE) == list(JOBS)


def test_ops_3_the_sql_for_pg_cron_asks_for_every_job_at_its_instants(database: str) -> None:
    """OPS-3: each statement it would run leaves the request of one job, and no other trace."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(PG_CRON.encode())
        conn.execute(block("With pg_cron", "sql").encode())
        scheduled = conn.execute("select schedule, command from cron.job").fetchall()
        asked = []
        for schedule, command in scheduled:
            conn.execute("delete from job_requests")
            with conn.transaction():
                conn.execute("set local role service_role")
                conn.execute(command.encode())
            ((job,),) = conn.execute("select job_name from job_requests").fetchall()
            assert list(instants(schedule)) == of_the_table(job), job
            asked.append(job)
        messages = conn.execute("select count(*) from outbox.message").fetchone()

    assert asked == list(JOBS)
    assert messages == (0,)


@pytest.mark.parametrize("job", JOBS)
def test_the_systemd_timers_have_the_instants_of_the_timetable(job: str) -> None:
    """Written as calendar events: hour and minute of each."""
    section = PAGE.partition("## With systemd timers")[2].partition("## With pg_cron")[0]
    events = {
        job: tuple(found)
        for job, found in zip(
            ("nightly", "sweep", "credentials", "reconcile", "reconcile_light", "prompts"),
            re.findall(r"\*-\*-\* (\S+?):(\S+?):00 UTC", section),
            strict=True,
        )
    }
    hours, minutes = events[job]
    if "/" in minutes:
        minutes = f"*/{minutes.partition('/')[2]}"
    assert list(instants(f"{minutes} {hours} * * *")) == of_the_table(job)
