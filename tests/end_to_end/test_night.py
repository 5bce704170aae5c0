"""The night from certificate to device: each told once, whatever fails, and told in the log."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from handlers.emulators.fcm import Outage
from handlers.texts import may_arrive_again
from outbox import redrive
from outbox.health import check_credentials
from sagas import operator, queries_demo
from sagas.nightly import nightly
from sagas.results import DispatchSummary
from sagas.wiring import night_wiring

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.run import Organisation
    from tests.end_to_end.scene import Scene

FAILING_LOG = """
create sequence log_writes;
create function pg_temp_refuse() returns trigger language plpgsql as $$
begin
    if nextval('log_writes') <= tg_argv[0]::bigint then
        raise exception 'the log cannot be written' using errcode = 'disk_full';
    end if;
    return new;
end $$;
create trigger refuse before update on cert_notification_log
for each row execute function pg_temp_refuse({writes});
"""
"""A sequence counts what is rolled back too."""


async def candidate(
    scene: Scene, organisation: Organisation, address: str | None, *, days: int = 7
) -> UUID:
    """A mentor whose certificate is so many days from its end, with one device or none."""
    mentor = await scene.world.mentor(organisation, days=days, device=False)
    if address is not None:
        await scene.world.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
            [mentor, address, scene.world.now],
        )
    return mentor


async def fail_log_writes(scene: Scene, writes: int) -> None:
    """Let the next `writes` updates of the notification log fail."""
    await scene.world.conn.execute(FAILING_LOG.format(writes=writes).encode())


async def pause_pushes(scene: Scene, *, paused: bool) -> None:
    """Keep what is queued where it is, or let it go."""
    async with scene.stage.opened() as conn:
        assert await redrive.set_paused(
            conn, handler="fcm", paused=paused, actor="operator", why="a look at the queue"
        )


async def renew(scene: Scene, mentor: UUID) -> None:
    """A new certificate, valid for two years."""
    today = scene.stage.clock.now().date()
    async with scene.stage.opened() as conn:
        await queries_demo.renew_certificate(
            conn, mentor, issued_on=today, expiry_date=today + timedelta(days=730),
            now=scene.stage.clock.now(),
        )  # fmt: skip


async def log_of(scene: Scene, mentor: UUID) -> tuple[str, int, str | None]:
    """Status, attempts and error of a mentor's own entry in the notification log."""
    (row,) = await scene.world.rows(
        "select status, attempts, error_class from cert_notification_log"
        " where mentor_id = %s and audience = 'mentor'",
        mentor,
    )
    return row["status"], row["attempts"], row["error_class"]


def addresses(scene: Scene) -> list[str]:
    """Where pushes arrived."""
    return sorted(delivery.address for delivery in scene.fcm.deliveries)


async def test_t0_1_and_t0_6_every_candidate_has_one_delivered_row(scene: Scene) -> None:
    """T0.1, T0.6: exactly one row per candidate, with the content a report needs."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentors = [await candidate(scene, hlf, f"ok-{number}") for number in range(5)]

    report = await scene.night()

    rows = await scene.world.rows("select * from cert_notification_log")
    assert {row["mentor_id"] for row in rows} == set(mentors)
    assert len(rows) == 5
    today = scene.world.day(hlf, 0)
    for row in rows:
        assert (row["audience"], row["channel"], row["status"]) == ("mentor", "push", "delivered")
        assert (row["threshold_days"], row["threshold_tier"]) == (7, "7")
        assert row["certification_expiry_date"] == scene.world.day(hlf, 7)
        assert row["recipient_id"] == row["mentor_id"]
        assert (row["attempts"], row["error_class"], row["date_sent"]) == (1, None, today)
        assert (row["run_id"], row["settled_at"]) == (report.run_id, scene.stage.clock.now())
    assert report.pushes == DispatchSummary(5, 0, 0)
    assert addresses(scene) == [f"ok-{number}" for number in range(5)]


async def test_t0_2_the_second_and_the_fourth_fail(scene: Scene) -> None:
    """T0.2: the loop reaches the end; success 3, failure 2."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    given = ("ok-1", "unreg-2", "ok-3", "unreg-4", "ok-5")
    mentors = [await candidate(scene, hlf, address) for address in given]

    report = await scene.night()

    found = [(await log_of(scene, mentor))[0] for mentor in mentors]
    assert found == ["delivered", "failed", "delivered", "failed", "delivered"]
    assert report.pushes == DispatchSummary(3, 2, 0)
    assert report.outcome == "completed"


async def test_t0_2_the_worked_dispatch_and_its_next_run(scene: Scene) -> None:
    """T0.2, RES-2, DED-10: the summary by its names, and then only the second and the fourth."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    given = ("ok-1", "unreg-2", "ok-3", "unreg-4", "ok-5")
    mentors = [await candidate(scene, hlf, address) for address in given]

    report = await scene.night()

    assert report.pushes.as_json() == {"successCount": 3, "failureCount": 2, "skippedCount": 0}
    assert [(await log_of(scene, mentor))[0] for mentor in mentors] == [
        "delivered", "failed", "delivered", "failed", "delivered"
    ]  # fmt: skip
    await scene.pass_time(days=1)
    for place in (1, 3):
        await scene.world.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
            [mentors[place], f"ok-new-{place + 1}", scene.world.now],
        )
    sent = scene.fcm.sends
    again = await scene.night()

    assert (again.total.retried, again.total.created) == (2, 0)
    assert addresses(scene) == ["ok-1", "ok-3", "ok-5", "ok-new-2", "ok-new-4"]
    assert scene.fcm.sends == sent + 2
    assert await scene.statuses() == {"delivered": 5}


async def test_t0_2_the_next_night_tries_only_what_failed(scene: Scene) -> None:
    """T0.2, T4.3, DED-10: three attempts a night, and the same row is taken up the next night."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentors = [await candidate(scene, hlf, f"{kind}-1") for kind in ("ok", "down")]
    mentors.append(await candidate(scene, hlf, "flaky2-1"))
    await scene.night()
    await scene.later(seconds=15)
    await scene.later(seconds=25)

    assert [await log_of(scene, mentor) for mentor in mentors] == [
        ("delivered", 1, None),
        ("failed", 3, "attempts_exhausted:fcm_unavailable"),
        ("delivered", 3, None),
    ]
    await scene.world.conn.execute(
        "update device_tokens set address = 'ok-2' where address = 'down-1'"
    )
    await scene.pass_time(days=1)
    report = await scene.night()

    assert (report.total.retried, report.total.created) == (1, 0)
    assert addresses(scene) == ["flaky2-1", "ok-1", "ok-2"]
    assert await scene.statuses() == {"delivered": 3}


async def test_t0_3_a_log_write_that_fails_sends_nothing_twice(scene: Scene) -> None:
    """T0.3, DSP-5: the write is tried three times, the push once; the error is logged."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentor = await candidate(scene, hlf, "ok-1")
    await fail_log_writes(scene, 2)

    with capture_logs() as logs:
        await scene.night()

    failed = [line for line in logs if line["event"] == "delivery.settlement_failed"]
    assert [(line["log_level"], line["writes"], line["sqlstate"]) for line in failed] == [
        ("error", 1, "53100"), ("error", 2, "53100")
    ]  # fmt: skip
    assert scene.fcm.sends == len(scene.fcm.deliveries) == 1
    assert await log_of(scene, mentor) == ("delivered", 1, None)


async def test_t0_3_a_log_that_stays_broken_leaves_an_unknown_and_no_second_push(
    scene: Scene,
) -> None:
    """T0.3, DSP-5, DSP-7: delivered and not recorded is unknown, listed, and not sent again."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentor = await candidate(scene, hlf, "ok-1")
    await fail_log_writes(scene, 3)

    with capture_logs() as logs:
        report = await scene.night()

    assert [line["writes"] for line in logs if line["event"] == "delivery.settlement_failed"] == [
        1, 2, 3
    ]  # fmt: skip
    assert report.outcome == "completed"
    assert await log_of(scene, mentor) == ("queued", 0, None)
    await scene.later(minutes=2)  # the lease has run out
    assert await log_of(scene, mentor) == ("unknown", 1, "lease_lost_after_begin")
    for _ in range(3):
        await scene.pass_time(days=1)
        await scene.night()
    assert scene.fcm.sends == len(scene.fcm.deliveries) == 1
    assert await scene.statuses() == {"unknown": 1}


async def test_t0_5_two_hundred_candidates_ten_at_a_time(scene: Scene) -> None:
    """T0.5, T2.9, DSP-1: never more than ten calls open, and all of them done."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    for number in range(200):
        await candidate(scene, hlf, f"ok-{number}")
    scene.fcm.latency_seconds = 0.01

    report = await scene.night()

    assert scene.fcm.in_flight_max == 10
    assert len(set(addresses(scene))) == len(scene.fcm.deliveries) == 200
    assert report.pushes == DispatchSummary(200, 0, 0)
    assert report.total.processed == 400


@pytest.mark.slow
async def test_prf_1_two_hundred_records_within_ten_seconds(scene: Scene) -> None:
    """PRF-1, PRF-2, T2.9: from certificate to device at 100 ms a push, ten at a time."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    for number in range(200):
        await candidate(scene, hlf, f"ok-{number}")
    scene.fcm.latency_seconds = 0.1

    began = time.perf_counter()
    report = await scene.night()
    took = time.perf_counter() - began

    assert report.pushes == DispatchSummary(200, 0, 0)
    assert scene.fcm.in_flight_max == 10
    assert 2 < took < 10


async def test_t0_7_the_same_night_again_dispatches_nothing(scene: Scene) -> None:
    """T0.7, DED-5, OPS-2: a manual re-trigger is safe, at once and a few hours later."""
    hlf = await scene.world.organisation()
    chapter = await scene.world.chapter(hlf)
    await scene.world.coordinator(hlf, chapter)
    for days in (60, 30, 14, 7, 0, -1, -40):
        await scene.world.mentor(hlf, chapter, days=days)
    await scene.night()
    before = await told(scene)

    for hours in (0, 3):
        await scene.pass_time(hours=hours)
        again = await scene.night()
        assert (again.total.created, again.total.queued, again.sweep.paused) == (0, 0, 0)
        assert again.duplicates == 0

    assert await told(scene) == before
    assert await scene.world.value("select count(*) from outbox.delivery where due_at is null") == 0


async def told(scene: Scene) -> tuple[dict[str, int], int, int]:
    """Everything that tells somebody something: rows by kind, pushes sent, portal calls."""
    async with scene.stage.opened() as conn:
        counts = await queries_demo.told_counts(conn)
    return counts, scene.fcm.sends, len(scene.portal.requests())


async def test_t0_9_two_runs_at_the_same_moment(scene: Scene) -> None:
    """T0.9: one push per key; the other run ends cleanly as `already_running`."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    for number in range(20):
        await candidate(scene, hlf, f"ok-{number}")
    wiring = night_wiring(scene.stage.app, scene.stage.dsn, lambda _stage, _facts: None)

    reports = await asyncio.gather(nightly(wiring), nightly(wiring))

    assert sorted(report.outcome for report in reports) == ["already_running", "completed"]
    assert addresses(scene) == sorted(f"ok-{number}" for number in range(20))
    assert await scene.log() == [("delivered", 1)] * 20


async def test_t1_7_three_coordinator_reminders_and_none_again(scene: Scene) -> None:
    """T1.7: 30, 14 and 7 days give three entries in `reminder_dispatch_log`, and one push."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    chapter = await scene.world.chapter(hlf)
    coordinator = await scene.world.coordinator(hlf, chapter)
    mentors = {
        days: await scene.world.mentor(hlf, chapter, days=days, device=False)
        for days in (30, 14, 7)
    }

    for _ in range(2):
        await scene.night()
        rows = await scene.world.rows("select * from reminder_dispatch_log")
        assert {(row["mentor_id"], row["threshold_day"], row["status"]) for row in rows} == {
            (mentor, days, "delivered") for days, mentor in mentors.items()
        }
        assert {row["coordinator_id"] for row in rows} == {coordinator}
        assert len(rows) == 3
        (push,) = scene.fcm.deliveries
        counts = {
            name: push.payload["data"][name]
            for name in ("count_30", "count_14", "count_7", "count")
        }
        assert counts == {"count_30": "1", "count_14": "1", "count_7": "1", "count": "3"}


async def test_t2_6_four_tiers_from_certificate_to_device(scene: Scene) -> None:
    """T2.6: rows are `pending`, FCM gets each tier's payload, a second run adds nothing."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    tiers = {60: "60", 30: "30", 7: "7", -1: "lapsed"}
    mentors = {
        tier: await candidate(scene, hlf, f"ok-{tier}", days=days) for days, tier in tiers.items()
    }
    await pause_pushes(scene, paused=True)
    await scene.night()

    rows = await scene.world.rows("select * from notifications order by created_at, id")
    inbox = {row["tier"]: row for row in rows}
    assert {tier: row["recipient_id"] for tier, row in inbox.items()} == mentors
    assert {row["status"] for row in rows} == {"pending"}
    assert addresses(scene) == []

    await pause_pushes(scene, paused=False)
    await scene.drain()

    assert addresses(scene) == sorted(f"ok-{tier}" for tier in mentors)
    for push in scene.fcm.deliveries:
        data = push.payload["data"]
        row = inbox[data["tier"]]
        assert data == {
            "schema": "1",
            "kind": "cert_lapsed" if data["tier"] == "lapsed" else "cert_expiry_reminder",
            "tier": push.address.removeprefix("ok-"),
            "notification_id": str(row["id"]),
            "deep_link": row["deep_link"],
        }
        urgent = data["tier"] in {"7", "lapsed"}
        assert push.payload["android"]["priority"] == ("HIGH" if urgent else "NORMAL")
    await scene.night()
    again = await scene.world.rows("select id, status from notifications")
    assert {row["id"] for row in again} == {row["id"] for row in rows}
    assert {row["status"] for row in again} == {"delivered"}
    assert len(scene.fcm.deliveries) == 4


async def test_dsp_8_a_renewal_before_the_send_cancels_it(scene: Scene) -> None:
    """DSP-8: what is no longer true when it would leave is not said."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    renewed = await candidate(scene, hlf, "ok-1")
    other = await candidate(scene, hlf, "ok-2")
    await pause_pushes(scene, paused=True)
    await scene.night()
    await renew(scene, renewed)
    await pause_pushes(scene, paused=False)
    await scene.drain()

    assert addresses(scene) == ["ok-2"]
    assert await log_of(scene, renewed) == ("cancelled", 0, None)
    assert await log_of(scene, other) == ("delivered", 1, None)
    inbox = await scene.world.value(
        "select status from notifications where recipient_id = %s", renewed
    )
    assert inbox == "cancelled"


async def test_a_page_with_200_is_unknown_and_lost_nowhere(scene: Scene) -> None:
    """P4: it may have arrived, so only a person repeats it, and it says that it may come again."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentor = await candidate(scene, hlf, "ok-1")
    boss = await scene.world.coordinator(hlf, role="org_admin", device=False)
    scene.fcm.outage = Outage(status=200, html=True)
    report = await scene.night()
    scene.fcm.outage = None
    await scene.later(hours=1)

    assert report.pushes == DispatchSummary(0, 1, 0)
    assert (await log_of(scene, mentor))[0] == "unknown"
    assert addresses(scene) == []
    delivery = await scene.world.value(
        "select id from outbox.delivery where handler = 'fcm' and unknown_at is not null"
    )

    async with scene.stage.opened() as conn:
        done = await operator.retry_delivery(
            conn, app=scene.stage.app, delivery_id=delivery, actor_id=boss,
            now=scene.stage.clock.now(), dry_run=False,
        )  # fmt: skip
    await scene.drain()

    assert done.made_due == 1
    (push,) = scene.fcm.deliveries
    assert push.payload["notification"]["body"].endswith(may_arrive_again("nb"))
    assert await log_of(scene, mentor) == ("delivered", 2, None)


async def test_rejected_push_credentials_alert_at_once_and_cost_no_attempt(scene: Scene) -> None:
    """T1.12, CRD-1, CRD-2: told at the first occurrence, resumed by the check."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentor = await candidate(scene, hlf, "ok-1")
    scene.fcm.tokens.reject = True

    report = await scene.night()

    assert report.credentials == {
        "fcm": "rejected", "portal": "accepted", "portal_read": "accepted"
    }  # fmt: skip
    assert report.outcome == "completed"
    (alert,) = await scene.alerts()
    assert (alert["type"], alert["severity"]) == ("credential_failure", "critical")
    assert (await log_of(scene, mentor))[:2] == ("queued", 0)
    assert scene.fcm.sends == 0
    kept = await scene.world.rows("select integration, outcome from credential_checks")
    assert {(row["integration"], row["outcome"]) for row in kept} >= {("fcm", "rejected")}

    scene.fcm.tokens.reject = False
    await check_credentials(scene.stage.app, scene.stage.dsn)
    await scene.drain()

    assert await scene.alerts() == []
    assert await log_of(scene, mentor) == ("delivered", 1, None)


async def test_an_outage_of_every_kind_in_one_night_ends_equal(scene: Scene) -> None:
    """P2, P10: portal and push fail in turn for an hour; afterwards nothing is open anywhere."""
    hlf = await scene.world.organisation()
    chapter = await scene.world.chapter(hlf)
    await scene.world.coordinator(hlf, chapter)
    for days in (30, 7, -1, -1, -1):
        await scene.bump(await scene.world.mentor(hlf, chapter, days=days))
    await scene.drain()
    for status in (500, 502, 503, 504, 429):
        scene.portal.script(status=status, retry_after=1 if status == 429 else None)
    scene.fcm.outage = Outage(status=429, retry_after="30")
    await scene.night()
    for _ in range(6):
        await scene.later(seconds=20)
    scene.fcm.outage = None
    for _ in range(12):
        await scene.later(minutes=5)

    report = await scene.stage.reconcile()
    assert not report.drift
    assert report.open_alerts == 0
    assert set(await scene.statuses()) == {"delivered"}
    pushed = [(push.tag, push.address) for push in scene.fcm.deliveries]
    assert len(set(pushed)) == len(pushed) == 7  # five mentors, and a coordinator of two matters
    assert await scene.open_sagas() == 0
    left = await scene.world.value("select count(*) from outbox.delivery where due_at is null")
    assert left == 0


async def test_a_run_for_another_instant_does_not_disturb_this_one(scene: Scene) -> None:
    """OPS-2: a night made up for by hand is told apart by its run, and its keys are the same."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    await candidate(scene, hlf, "ok-1", days=31)
    wiring = night_wiring(scene.stage.app, scene.stage.dsn, lambda _stage, _facts: None)
    run_id = uuid4()

    first = await nightly(wiring, as_of=scene.stage.clock.now() - timedelta(days=1), run_id=run_id)
    second = await nightly(wiring)

    assert first.run_id == run_id
    assert (first.total.created, second.total.created) == (1, 0)
    assert addresses(scene) == ["ok-1"]
