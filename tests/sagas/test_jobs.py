"""Jobs on the database: one run at a time, kept alive, recorded; and asked for from SQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from sagas import holds, jobs, queries_jobs
from sagas.holds import Hold
from sagas.jobs import Parts, UnknownJob
from sagas.nightly import Wiring
from sagas.reconcile import Listing
from sagas.results import ALREADY_RUNNING, COMPLETED, FAILED
from sagas.timetable import JOBS, Standing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from psycopg import AsyncConnection

    from sagas.run import Organisation
    from tests.sagas.world import World


@asynccontextmanager
async def connection(world: World) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection as a run opens one."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        yield conn


def hold(world: World, job: str = "sweep", **changes: Any) -> Hold:
    """A run's hold on a job, in the world's time."""
    return Hold(
        **{
            "connect": lambda: connection(world),
            "clock": lambda: world.now,
            "job": job,
            "run_id": uuid4(),
            **changes,
        }
    )


def parts(
    world: World,
    *,
    check: Callable[[], Any] | None = None,
    listing: Callable[[Organisation], Any] | None = None,
) -> Parts:
    """What jobs are given: nothing to drain, credentials accepted, an empty portal."""

    async def drain(_handlers: tuple[str, ...]) -> int:
        return 0

    async def accepted() -> Mapping[str, str]:
        return {"fcm": "accepted"}

    async def empty(_organisation: Organisation) -> Listing:
        return Listing(complete=True)

    wiring = Wiring(
        connect=lambda: connection(world),
        drain=drain,
        clock=lambda: world.now,
        sync_handlers=(),
        push_handlers=("fcm",),
        check_credentials=check or accepted,
    )
    return Parts(wiring, listing or empty)


async def statuses(world: World) -> list[tuple[str, str]]:
    """Jobs and statuses of all runs, in the order they began."""
    rows = await world.rows("select job_name, status from job_runs order by started_at, job_name")
    return [(row["job_name"], row["status"]) for row in rows]


async def end(held: Hold, world: World) -> None:
    """End a run well."""
    await held.end(outcome=COMPLETED, summary={}, started_at=world.now, finished_at=world.now)


async def test_ded_6_one_run_holds_a_job_and_the_next_may_begin_when_it_ends(world: World) -> None:
    """DED-6: other jobs are not kept waiting; a dead holder keeps it for a lease, no longer."""
    first, second, other = hold(world), hold(world), hold(world, "prompts")
    assert await first.begin(started_at=world.now)
    assert not await second.begin(started_at=world.now)
    assert await other.begin(started_at=world.now)
    await end(first, world)
    assert await second.begin(started_at=world.now)

    await world.at(world.now + holds.LEASE - timedelta(seconds=1))
    assert not await hold(world).begin(started_at=world.now)
    await world.at(world.now + timedelta(seconds=1))
    assert await hold(world).begin(started_at=world.now)


async def test_ded_6_of_two_that_found_the_same_instant_due_one_runs_it(world: World) -> None:
    """Also one after the other: the second finds that it has ended. A dead run has not ended."""
    instant = world.now - timedelta(minutes=1)
    dead, first, second, later = (hold(world) for _ in range(4))
    assert await dead.begin(started_at=world.now, since=instant)
    await world.at(world.now + holds.LEASE)
    assert await first.begin(started_at=world.now, since=instant)
    await end(first, world)

    assert not await second.begin(started_at=world.now, since=instant)
    assert await world.value("select count(*) from job_locks") == 0
    assert await later.begin(started_at=world.now, since=world.now + timedelta(seconds=5))
    await end(later, world)  # its clock is behind the one that asked, and it counts all the same
    assert not await hold(world).begin(started_at=world.now, since=world.now + timedelta(seconds=5))
    assert [status for _, status in await statuses(world)] == ["running", "done", "done"]


async def test_a_run_keeps_its_lease_while_it_works(world: World) -> None:
    """The sleeper is told a third of the lease; when it wakes, the lease is a whole one again."""
    woken: asyncio.Queue[float] = asyncio.Queue()
    go_on = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        woken.put_nowait(seconds)
        await go_on.acquire()

    held = hold(world, sleep=sleep)
    assert await held.begin(started_at=world.now)
    async with held.kept():
        assert await woken.get() == holds.LEASE.total_seconds() / 3
        await world.at(world.now + holds.LEASE - timedelta(seconds=1))
        go_on.release()
        await woken.get()  # renewed
        await world.at(world.now + timedelta(minutes=1))
        assert not await hold(world).begin(started_at=world.now)
    await end(held, world)
    assert await hold(world).begin(started_at=world.now)


async def test_a_run_that_is_cut_off_frees_its_job_and_has_not_ended(world: World) -> None:
    """The next copy of a scheduler may do it again at once."""
    held, begun = hold(world), asyncio.Event()
    assert await held.begin(started_at=world.now)

    async def work() -> None:
        async with held.kept():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await statuses(world) == [("sweep", "running")]
    assert await hold(world).begin(started_at=world.now, since=world.now)


@pytest.mark.parametrize("job", JOBS)
async def test_ops_3_every_job_of_the_table_runs_by_its_name(world: World, job: str) -> None:
    """OPS-3, OPS-2, RES-4: through the one door, twice, and leaves its result."""
    await world.mentor(await world.organisation(), days=-1)

    first = await jobs.run(job, parts(world))
    again = await jobs.run(job, parts(world), since=world.now)

    assert (first.job, first.outcome, first.failures) == (job, COMPLETED, {})
    assert again.outcome == ALREADY_RUNNING
    assert await statuses(world) == [(job, "done")]
    summary = await world.value("select summary from job_runs")
    assert first.summary.items() <= summary.items()
    assert first.as_json()["summary"] == first.summary


async def test_ded_6_a_second_run_by_hand_ends_at_once_and_says_so(world: World) -> None:
    held = hold(world, "prompts")
    assert await held.begin(started_at=world.now)

    refused = await jobs.run("prompts", parts(world))
    quiet = await jobs.run("prompts", parts(world), since=world.now)

    assert refused.outcome == quiet.outcome == ALREADY_RUNNING
    assert await statuses(world) == [("prompts", "already_running"), ("prompts", "running")] or (
        await statuses(world) == [("prompts", "running"), ("prompts", "already_running")]
    )


async def test_there_are_no_other_jobs(world: World) -> None:
    with pytest.raises(UnknownJob, match="nightly, sweep"):
        await jobs.run("party", parts(world))
    assert await statuses(world) == []


async def test_a_portal_that_cannot_be_read_fails_its_organisation_alone(world: World) -> None:
    """RCN-1: the other organisation is compared; the run is failed and tells the error's class."""
    for code in ("HLF", "NHF"):
        await world.mentor(await world.organisation(code), days=100)
    await world.organisation("XYZ", visibility_channel="none")

    async def listing(organisation: Organisation) -> Listing:
        if organisation.code == "HLF":
            raise ConnectionError("secret")
        return Listing(complete=True)

    done = await jobs.run("reconcile", parts(world, listing=listing))

    assert (done.outcome, done.failures) == (FAILED, {"reconcile:HLF": "ConnectionError"})
    assert await standing(world, "reconcile") == Standing(ended=world.now, failures=1)
    assert list(done.summary["organisations"]) == ["NHF"]
    assert await world.value("select count(*) from reconciliation_reports") == 1
    assert await world.value("select error_class from job_runs") == "ConnectionError"


async def test_rcn_1_the_light_comparison_keeps_a_report_only_where_something_is_wrong(
    world: World,
) -> None:
    """RCN-1: it repairs like the other; where both sides agree nothing is written each hour."""
    organisation = await world.organisation()
    agreed = await jobs.run("reconcile_light", parts(world))
    await world.mentor(organisation, days=100)
    await world.at(world.now + timedelta(hours=2))
    missing = await jobs.run("reconcile_light", parts(world))

    assert [done.summary["organisations"]["HLF"]["drift"] for done in (agreed, missing)] == [
        False, True
    ]  # fmt: skip
    assert missing.summary["organisations"]["HLF"]["repaired"] == 1
    assert await world.value("select count(*) from reconciliation_reports") == 1


async def standing(world: World, job: str) -> Standing:
    """How a job stands."""
    async with world.transaction() as conn:
        return (await queries_jobs.job_standings(conn, [job, "nightly"]))[job]


async def test_a_request_from_sql_stands_until_a_run_since_it_has_ended(world: World) -> None:
    """OPS-3: what pg_cron does. Asked twice before the run is asked once."""
    async with world.transaction() as conn:
        await conn.execute("select app.request_job('sweep', at => %s)", [world.now])
    asked = await standing(world, "sweep")
    async with world.transaction() as conn:
        earlier = world.now - timedelta(hours=1)
        since = await queries_jobs.request_job(conn, "sweep", now=earlier)
    assert asked == Standing(requested_at=world.now)
    assert since == world.now
    assert await world.value("select count(*) from job_requests") == 1

    await jobs.run("sweep", parts(world), since=world.now)
    assert await standing(world, "sweep") == Standing(ended=world.now, requested_at=world.now)
    held = hold(world)
    await held.begin(started_at=world.now)
    assert (await standing(world, "sweep")).held_until == world.now + holds.LEASE


async def test_failures_in_a_row_are_counted_from_the_last_run_that_went_well(
    world: World,
) -> None:
    """DED-6: what a scheduler decides by."""
    seen = []
    for outcome in (COMPLETED, FAILED, FAILED, COMPLETED, FAILED):
        held = hold(world)
        assert await held.begin(started_at=world.now)
        await held.end(outcome=outcome, summary={}, started_at=world.now, finished_at=world.now)
        seen.append((await standing(world, "sweep")).failures)
        await world.pass_days(1)

    assert seen == [0, 1, 2, 0, 1]


async def test_a_job_nobody_knows_cannot_be_asked_for(world: World) -> None:
    """A slip in a schedule is an error there, not a silence here."""
    with pytest.raises(psycopg.errors.CheckViolation, match="job_requests_job_is_known"):
        await world.conn.execute("select app.request_job('sweeep')")
    allowed = {row["name"] for row in await world.rows(
        "select unnest(regexp_split_to_array(btrim(pg_get_constraintdef(oid), ' '), '''')) as name"
        " from pg_constraint where conname = 'job_requests_job_is_known'"
    )}  # fmt: skip
    assert set(JOBS) <= allowed


async def test_clients_cannot_ask_for_jobs(world: World) -> None:
    """VIS-8: the service alone."""
    for role in ("anon", "authenticated"):
        async with world.transaction() as conn:
            await conn.execute(f"set local role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with conn.transaction():
                    await conn.execute("select app.request_job('sweep')")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with conn.transaction():
                    await conn.execute("select * from job_requests")
    async with world.transaction() as conn:
        await conn.execute("set local role service_role")
        await conn.execute("select app.request_job('sweep')")
    assert await world.value("select count(*) from job_requests") == 1
