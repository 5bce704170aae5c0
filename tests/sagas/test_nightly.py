"""The night's order, its isolation, its one-at-a-time, and the look at the data that ends it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from sagas import holds, jobs, queries_jobs
from sagas import nightly as night
from sagas.nightly import Wiring, nightly
from sagas.results import DataQuality, DispatchSummary, SweepResult
from sagas.results import OrchestrationResult as Counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sagas.reconcile import Listing
    from sagas.run import Organisation
    from tests.sagas.world import World


class Parts:
    """The injected parts of a night, each noting that it was called."""

    def __init__(self, world: World, *, push_outcome: str = "delivered") -> None:
        self.world, self.push_outcome = world, push_outcome
        self.stages: list[str] = []
        self.wiring = Wiring(
            connect=self.connect,
            drain=self.drain,
            clock=lambda: world.now,
            check_credentials=self.check,
            sync_handlers=("portal",),
            push_handlers=("in_app", "fcm"),
            progress=self.progress,
        )

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await psycopg.AsyncConnection.connect(self.world.dsn) as conn:
            yield conn

    async def check(self) -> Mapping[str, str]:
        self.stages.append("check")
        return {"portal": "accepted", "fcm": "accepted"}

    async def drain(self, handlers: tuple[str, ...]) -> int:
        self.stages.append("+".join(handlers))
        if "fcm" in handlers:
            await self.world.settle(self.push_outcome, attempts=1)
        return 1

    def progress(self, stage: str, _facts: Mapping[str, Any]) -> None:
        if ":organisations" not in stage:
            self.stages.append(stage)


async def two_organisations(world: World) -> None:
    """HLF with a lapsed mentor and one at 30 days, NHF with one at 7 days; a coordinator each."""
    hlf = await world.organisation("HLF")
    nhf = await world.organisation("NHF", visibility_channel="none")
    await world.coordinator(hlf, await world.chapter(hlf))
    await world.coordinator(nhf, await world.chapter(nhf))
    await world.mentor(hlf, days=-1)
    await world.mentor(hlf, days=30)
    await world.mentor(nhf, days=7, device=False)


async def test_the_order_of_the_night_and_its_report(world: World) -> None:
    """PAU-6, RES-4, ARC-5 (all parts injected): each step in its place, and the report kept."""
    await two_organisations(world)
    parts = Parts(world)

    report = await nightly(parts.wiring)

    assert parts.stages == [
        "check", "credentials", "sweep:HLF", "sweep:NHF", "portal", "sync", "reminders:HLF",
        "reminders:NHF", "in_app+fcm", "push", "duplicates:HLF", "duplicates:NHF",
        "data_quality:HLF", "data_quality:NHF", "outcomes", "retention",
    ]  # fmt: skip
    assert report.outcome == "completed"
    assert report.sweep == SweepResult(paused=1, groups=1, merged=1, missing_coordinator=1)
    assert report.reminders["HLF"] == Counts(
        processed=4, skipped=1, created=3, queued=3, missing_coordinator=1
    )
    assert report.reminders["NHF"] == Counts(
        processed=2, created=2, queued=1, no_token=1, missing_coordinator=1
    )
    assert report.total.processed == 6
    assert report.pushes == DispatchSummary(6, 0, 0)
    assert report.data_quality.open_by_kind == {
        "missing_coordinator": 3,
        "mentor_without_chapter": 3,
    }
    (run,) = await world.rows("select status, summary from job_runs where job_name = 'nightly'")
    assert run == {"status": "done", "summary": report.as_json()}
    assert await world.value("select count(*) from job_locks") == 0


async def test_the_same_night_again_sends_nothing(world: World) -> None:
    """OPS-2, DED-5."""
    await two_organisations(world)
    await nightly(Parts(world).wiring)
    asked = len(await world.requested())

    again = await nightly(Parts(world).wiring)

    assert (again.outcome, again.total.created, again.sweep) == ("completed", 0, SweepResult())
    assert len(await world.requested()) == asked


async def test_a_second_run_exits_while_the_first_holds_the_lease(world: World) -> None:
    """DED-6: and takes over once the lease of a dead one has run out."""
    await two_organisations(world)
    async with world.transaction() as conn:
        assert await queries_jobs.take_lease(
            conn, job=night.JOB, holder=uuid4(), now=world.now, lease=holds.LEASE
        )

    refused = await nightly(Parts(world).wiring)
    await world.at(world.now + holds.LEASE + timedelta(seconds=1))
    allowed = await nightly(Parts(world).wiring)

    assert (refused.outcome, refused.total) == ("already_running", Counts())
    assert allowed.outcome == "completed"
    statuses = await world.rows("select status from job_runs order by started_at")
    assert [row["status"] for row in statuses] == ["already_running", "done"]


async def test_one_organisation_that_fails_leaves_the_others(world: World) -> None:
    """Its transaction alone is lost; the run is marked failed and names the step, not the text."""
    await two_organisations(world)
    hlf = await world.value("select id from organisations where code = 'HLF'")
    await world.conn.execute(
        "create function lose() returns trigger language plpgsql as $$ begin"
        f" if new.organisation_id = '{hlf}' then"
        " raise exception 'secret detail' using errcode = 'deadlock_detected'; end if;"
        " return new; end $$;"
        "create trigger lose before insert on cert_expiry_reminders"
        " for each row execute function lose()"
    )

    with capture_logs() as logs:
        report = await nightly(Parts(world).wiring)

    assert report.outcome == "failed"
    assert report.failures == {
        "sweep:HLF": "DeadlockDetected",
        "reminders:HLF": "DeadlockDetected",
    }
    assert report.reminders["NHF"].created == 2
    assert "secret" not in str(logs)
    assert await world.value("select status from job_runs") == "failed"


async def test_a_drain_that_fails_does_not_stop_the_night(world: World) -> None:
    """PAU-5: a portal that is down undoes no pause and delays no reminder."""
    await two_organisations(world)
    parts = Parts(world)

    async def drain(handlers: tuple[str, ...]) -> int:
        if handlers == ("portal",):
            raise ConnectionError
        return await parts.drain(handlers)

    wiring = Wiring(
        connect=parts.connect,
        drain=drain,
        clock=lambda: world.now,
        sync_handlers=("portal",),
        push_handlers=("fcm",),
    )
    report = await nightly(wiring)

    assert report.failures == {"sync": "ConnectionError"}
    assert (report.sweep.paused, report.total.created) == (1, 5)


async def test_anything_told_twice_is_alerted_after_the_drain(world: World) -> None:
    """DED-12: with the constraint gone, a planted second delivery is found the same night."""
    await two_organisations(world)
    await world.conn.execute(
        "alter table cert_notification_log"
        " drop constraint cert_notification_log_once_per_recipient;"
        "drop index cert_notification_log_mentor_push_once_per_period"
    )
    parts = Parts(world)
    drain = parts.drain

    async def doubling(handlers: tuple[str, ...]) -> int:
        settled = await drain(handlers)
        if "fcm" in handlers:
            await world.conn.execute(
                "create temporary table twin as select * from cert_notification_log"
                " where audience = 'mentor' and threshold_tier = '30';"
                "update twin set id = gen_random_uuid();"
                "insert into cert_notification_log select * from twin"
            )
        return settled

    wiring = Wiring(
        connect=parts.connect,
        drain=doubling,
        clock=lambda: world.now,
        sync_handlers=(),
        push_handlers=("fcm",),
    )
    report = await nightly(wiring)

    assert report.duplicates == 1
    (alert,) = await world.rows(
        "select payload ->> 'type' as type, payload ->> 'severity' as severity"
        " from outbox.message where topic = 'alert.open'"
    )
    assert tuple(alert.values()) == ("duplicate_dispatch", "critical")


async def test_pushes_are_counted_by_how_they_ended(world: World) -> None:
    """RES-2: unknown and failed are failures; nobody to reach is skipped."""
    await two_organisations(world)
    report = await nightly(Parts(world, push_outcome="unknown").wiring)
    assert report.pushes == DispatchSummary(0, 6, 0)
    assert report.pushes.as_json() == {"successCount": 0, "failureCount": 6, "skippedCount": 0}


async def test_a_sweep_waits_for_no_night(world: World) -> None:
    """PAU-7: every quarter of an hour, also beside a nightly run."""
    await two_organisations(world)
    async with world.transaction() as conn:
        await queries_jobs.take_lease(
            conn, job=night.JOB, holder=uuid4(), now=world.now, lease=holds.LEASE
        )

    swept = await jobs.run("sweep", jobs.Parts(Parts(world).wiring, no_portal))

    assert (swept.summary["paused"], swept.failures) == (1, {})
    assert await world.value("select count(*) from job_locks") == 1


async def no_portal(_organisation: Organisation) -> Listing:
    """What a sweep never asks."""
    raise AssertionError


async def test_findings_open_stay_and_close_themselves(world: World) -> None:
    """REC-8: since when, which step stands in; nobody ticks them off."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    await world.mentor(organisation, chapter)
    await world.coordinator(organisation, chapter, role="chapter_admin")

    async def look() -> DataQuality:
        async with world.transaction() as conn:
            return await queries_jobs.refresh_findings(conn, organisation.id, now=world.now)

    first = await look()
    since = world.now
    await world.pass_days(1)
    second = await look()
    (finding,) = await world.rows(
        "select step, chapter_id, found_at, last_seen_at from data_quality_findings"
        " where kind = 'missing_coordinator'"
    )
    await world.coordinator(organisation, chapter)
    third = await look()

    open_now = {"missing_coordinator": 1, "mentor_without_certificate": 1}
    assert first == DataQuality(opened=2, closed=0, open_by_kind=open_now)
    assert second == DataQuality(opened=0, closed=0, open_by_kind=open_now)
    assert tuple(finding.values()) == (3, chapter, since, world.now)
    assert third == DataQuality(0, 1, {"mentor_without_certificate": 1})


@pytest.mark.parametrize(
    ("since", "stays"),
    [
        pytest.param("update portal_sync_state set last_code = 'portal_5xx'", True, id="no answer"),
        pytest.param("update portal_sync_state set last_attempt_at = now()", True, id="the same"),
        pytest.param(
            "update portal_sync_state set last_code = 'applied', acked_at = %s", False, id="stored"
        ),
        pytest.param(
            "update portal_sync_state set last_code = 'ahead', observed_version = 9,"
            " observed_at = %s",
            False,
            id="seen there",
        ),
        pytest.param("update peer_mentors set status = 'paused'", False, id="hidden"),
        pytest.param("update organisations set visibility_channel = 'none'", False, id="no portal"),
    ],
)
async def test_whom_the_portal_did_not_know_is_found_until_it_does(
    world: World, since: LiteralString, *, stays: bool
) -> None:
    """REC-8, SYN-10: only an answer that knows him, or that nobody need know him, closes it."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation)
    await world.conn.execute(
        "insert into portal_sync_state (mentor_id, last_code) values (%s, 'unknown_mentor')",
        [mentor],
    )
    await world.conn.execute(
        "insert into data_quality_findings (kind, organisation_id, mentor_id, subject, found_at)"
        " values ('unknown_at_portal', %s, %s, %s, %s)",
        [organisation.id, mentor, str(mentor), world.now],
    )
    await world.pass_days(1)
    async with world.transaction() as conn:
        await conn.execute(since, [world.now] * since.count("%s"))
        found = await queries_jobs.refresh_findings(conn, organisation.id, now=world.now)

    assert found.open_by_kind.get("unknown_at_portal", 0) == stays
    assert found.closed == (not stays)
