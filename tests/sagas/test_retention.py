"""Records of scheduled work go after their time, a bounded number at once, and never the last."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from handlers.settings import ApplicationSettings
from sagas.app import build_app
from sagas.nightly import nightly
from sagas.retention import prune_records
from sagas.wiring import night_wiring
from tests.sagas.test_nightly import Parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sagas.world import World


async def ran(world: World, job: str, *days_ago: float, status: str = "done") -> None:
    """Runs of a job that began so many days ago."""
    for days in days_ago:
        await world.conn.execute(
            "insert into job_runs (job_name, started_at, status) values (%s, %s, %s)",
            [job, world.now - timedelta(days=days), status],
        )


async def checked(world: World, integration: str, *days_ago: float) -> None:
    """Checks of an integration so many days ago."""
    for days in days_ago:
        await world.conn.execute(
            "insert into credential_checks (integration, checked_at, outcome)"
            " values (%s, %s, 'accepted')",
            [integration, world.now - timedelta(days=days)],
        )


async def left(world: World) -> dict[str, list[int]]:
    """How many days ago is what is left, by job and integration."""
    found: dict[str, list[int]] = {}
    for row in await world.rows(
        "select job_name as name, started_at as at from job_runs union all"
        " select integration, checked_at from credential_checks order by 1, 2 desc"
    ):
        found.setdefault(row["name"], []).append((world.now - row["at"]).days)
    return found


async def test_the_night_deletes_what_is_old_but_no_last_word(world: World) -> None:
    """RES-4, CRD-1: what says how a job or an integration stands is kept however old it is."""
    await ran(world, "sweep", 1, 89, 91, 200)
    await ran(world, "of another release", 300, 400)
    await ran(world, "prompts", 500)
    await ran(world, "prompts", 100, 120, status="already_running")
    await checked(world, "fcm", 1, 91)
    await checked(world, "portal", 95, 96, 97)

    report = await nightly(Parts(world).wiring)

    assert report.pruned == {"job_runs": 3, "credential_checks": 3}
    assert await left(world) == {
        "fcm": [1],
        "nightly": [0],
        "of another release": [300],
        "portal": [95],
        "prompts": [100, 120, 500],
        "sweep": [1, 89],
    }


async def test_it_is_deleted_a_bounded_number_at_a_time(world: World) -> None:
    """Each transaction ends soon: what the first deleted stays deleted when the next is refused."""
    await ran(world, "sweep", 0, *range(100, 105))
    await world.conn.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " if (select count(*) from job_runs) < 4 then raise 'enough'; end if; return null; end $$;"
        "create trigger refuse after delete on job_runs for each statement"
        " execute function refuse()"
    )

    before = world.now - timedelta(days=90)

    with pytest.raises(psycopg.errors.RaiseException):
        await prune_records(Parts(world).connect, before=before, at_once=2)
    assert len((await left(world))["sweep"]) == 4

    await world.conn.execute("drop trigger refuse on job_runs")
    gone = await prune_records(Parts(world).connect, before=before, at_once=2)
    assert gone == {"job_runs": 3, "credential_checks": 0}
    assert (await left(world))["sweep"] == [0]


async def test_how_long_is_a_setting(world: World) -> None:
    """`JOB_RECORDS_KEEP_DAYS` reaches the night."""
    given: Mapping[str, Any] = {"_env_file": None, "job_records_keep_days": 8}
    wiring = night_wiring(
        build_app(ApplicationSettings(**given)), world.dsn, lambda _stage, _facts: None
    )

    assert wiring.records_kept_for == timedelta(days=8)
