"""The portal follows us, whatever happens on the way; and people are told while it does not.

SYN-1: every test runs through the webhook and through Dataverse, and asks what holds for both.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from handlers.emulators.portal_faults import Route, Silence
from handlers.http import http_client
from handlers.portal import Reason, WantedVisibility
from handlers.portal.answers import Stale
from handlers.ports import DATAVERSE, WEBHOOK, visibility_ports
from handlers.settings import ApplicationSettings, Newest
from outbox import redrive
from outbox.health import check_credentials
from sagas import coordinator, jobs, queries_demo
from sagas.demo import emulated_settings
from sagas.wiring import job_parts
from tests.end_to_end.scene import ALR_1, Scene, until
from tests.sagas.world import NOW

if TYPE_CHECKING:
    from uuid import UUID

PENDING = "dynamics_sync_pending"


@pytest.fixture(params=[WEBHOOK, DATAVERSE])
def channel(request: pytest.FixtureRequest) -> str:
    """Both ways to the portal."""
    found: str = request.param
    return found


async def renew(scene: Scene, mentor: UUID) -> None:
    """A new certificate, valid for two years."""
    today = scene.stage.clock.now().date()
    async with scene.stage.opened() as conn:
        await queries_demo.renew_certificate(
            conn, mentor, issued_on=today, expiry_date=today + timedelta(days=730),
            now=scene.stage.clock.now(),
        )  # fmt: skip


async def sweep(scene: Scene) -> int:
    """Pause who has lapsed; how many."""
    parts = job_parts(scene.stage.app, scene.stage.dsn, lambda _stage, _facts: None)
    swept = await jobs.run("sweep", parts)
    assert not swept.failures
    return int(swept.summary["paused"])


async def lapse(scene: Scene) -> tuple[UUID, UUID]:
    """A mentor the portal shows, whose last valid day was yesterday; and his coordinator."""
    hlf = await scene.world.organisation()
    mentor, person = await scene.followed_mentor(hlf, days=0)
    await scene.bump(mentor)
    await scene.drain()
    await scene.later(days=1)
    return mentor, person


async def test_t0_11_a_failed_sync_alerts_and_heals_by_itself(scene: Scene) -> None:
    """T0.11, PAU-5, SYN-4: he stays paused, pending, the text is exact, the ladder clears it."""
    mentor, _ = await lapse(scene)
    scene.portal.outage(status=503)

    report = await scene.night()

    assert report.outcome == "completed"
    assert report.sweep.paused == 1
    assert await scene.mentor_status(mentor) == "paused"
    assert await scene.sync_of(mentor) == (2, "pending")
    (alert,) = await scene.alerts()
    assert (alert["type"], alert["text"], alert["mentor_id"]) == (PENDING, ALR_1, mentor)
    assert alert["opened_at"] == scene.stage.clock.now()

    scene.portal.heal()
    await scene.later(seconds=6)  # the ladder's five, and the jitter of the night's relay

    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []
    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (2, False)
    assert await scene.open_sagas() == 0


async def test_t0_11_a_manual_retry_heals_at_once(scene: Scene) -> None:
    """T0.11, SYN-8, ALR-2: the coordinator need not wait for the ladder."""
    mentor, person = await lapse(scene)
    scene.portal.outage(status=503)
    await scene.night()
    for wait in (5, 30, 120, 300, 900):
        await scene.later(seconds=wait)
    scene.portal.heal()
    await scene.later(seconds=10)  # the next attempt is half an hour away
    assert await scene.alert_types() == [PENDING]

    async with scene.stage.opened() as conn:
        now = scene.stage.clock.now()
        retried = await coordinator.retry_sync(
            conn, app=scene.stage.app, mentor_id=mentor, actor_id=person, now=now
        )
    await scene.drain()

    assert (retried.made_due, retried.redriven) == (1, 0)
    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []


async def test_the_worked_saga_to_the_second(scene: Scene) -> None:
    """SYN-5: 503, an answer lost after it was applied, a duplicate; then a late copy."""
    mentor, _ = await lapse(scene)
    for _ in range(4):
        await scene.bump(mentor)
        await scene.drain()
    first_night = datetime(2026, 3, 3, 0, 5, 3, tzinfo=UTC)
    scene.stage.clock.set(first_night)

    assert await sweep(scene) == 1  # 00:05:03
    assert await scene.sync_of(mentor) == (6, "pending")
    scene.portal.script(status=503)
    scene.portal.script(applied=True, silence=Silence.DROP)
    await scene.later(seconds=1)  # 00:05:04
    assert [alert["text"] for alert in await scene.alerts()] == [ALR_1]
    await scene.later(seconds=5)  # 00:05:09
    assert await scene.alert_types() == [PENDING]
    await scene.later(seconds=30)  # 00:05:39

    attempts = await scene.world.rows(
        "select r.settled_at as at from outbox.receipt r join outbox.message m"
        " on m.id = r.message_id where r.handler = 'portal' and m.payload ->> 'version' = '6'"
        " order by r.id"
    )
    assert [each["at"] - first_night for each in attempts] == [
        timedelta(seconds=seconds) for seconds in (1, 6, 36)
    ]
    assert (await scene.answers(mentor))[-3:] == [
        (6, "retry", "portal_http_503"),
        (6, "retry", "portal_connection"),
        (6, "done", "duplicate"),
    ]
    assert await scene.sync_of(mentor) == (6, "delivered")
    assert await scene.alerts() == []
    (closed,) = await scene.alerts(resolved=True)
    assert closed["resolved_at"] - closed["opened_at"] == timedelta(seconds=35)
    assert await scene.timeline(mentor) == [
        ("visibility.changed", "sync_pending"),
        ("report:visibility.changed:first_failure", "first_failure"),
        ("report:visibility.changed:done", "confirmed"),
    ]
    reports = await scene.world.value(
        "select count(*) from outbox.message where topic = 'outbox.report'"
        " and payload ->> 'topic_of' = 'visibility.changed' and payload ->> 'handler' <> 'portal'"
    )
    assert reports == 0  # the saga hears of the portal, not of itself
    await late_copy_is_harmless(scene, mentor, version=5, newest=6)
    await scene.pass_time(minutes=15)
    report = await scene.stage.reconcile()
    assert (report.totals, report.drift) == ({"in_sync": 1}, False)


async def late_copy_is_harmless(scene: Scene, mentor: UUID, *, version: int, newest: int) -> None:
    """SYN-2: an overtaken call reaches the portal after all, and changes nothing there."""
    settings = ApplicationSettings(**emulated_settings(scene.fcm, scene.portal, "{}"))
    async with http_client(timeout=timedelta(seconds=5), connections_max=1) as http:
        ports = visibility_ports(Newest(settings), http, scene.stage.clock)
        port = ports[scene.world.channel]
        late = WantedVisibility(
            mentor_id=mentor, organisation="HLF", version=version, visible=True,
            reason=Reason.RECONCILE, effective_at=NOW, changed_at=NOW,
        )  # fmt: skip
        answer = await port.set(late, newest=newest)
    assert isinstance(answer, Stale)
    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (newest, False)


async def test_accepted_is_confirmed_by_reading_back(scene: Scene) -> None:
    """SYN-13: a minute after 202 people are told, and the read back closes the alert."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.script(status=202, body=b"", applied=True)
    await scene.pause(mentor)
    await scene.drain()

    assert await scene.sync_of(mentor) == (2, "accepted")
    assert await scene.alerts() == []
    await scene.later(seconds=60)
    assert await scene.alert_types() == [PENDING]
    assert await scene.answers(mentor, "portal_read") == []

    await scene.later(minutes=14)

    assert await scene.answers(mentor, "portal_read") == [(2, "done", "confirmed")]
    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []
    assert await scene.open_sagas() == 0


async def test_accepted_and_lost_is_asked_for_until_it_is_there(scene: Scene) -> None:
    """SYN-9, SYN-13, T1.10: the portal accepts and does nothing; a forced sync gets through."""
    mentor, person = await scene.known_mentor(await scene.world.organisation())
    scene.portal.script(status=202, body=b"")
    await scene.pause(mentor)
    await scene.drain()
    for _ in range(3):
        await scene.later(minutes=15)

    assert await scene.answers(mentor, "portal_read") == [(2, "done", "not_yet")] * 3
    assert await scene.alert_types() == [PENDING]

    async with scene.stage.opened() as conn:
        now = scene.stage.clock.now()
        await coordinator.force_sync(conn, mentor_id=mentor, actor_id=person, now=now)
    await scene.drain()

    assert await scene.sync_of(mentor) == (3, "delivered")
    assert await scene.alerts() == []


async def test_a_portal_ahead_is_overtaken(scene: Scene) -> None:
    """A restored database: our version rises above the portal's, and both are equal afterwards."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.store.put(mentor, version=41, visible=True, now=scene.stage.clock.now())
    await scene.pause(mentor)
    await scene.drain()

    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (42, False)
    assert await scene.sync_of(mentor) == (42, "delivered")
    assert await scene.alerts() == []
    (alert,) = await scene.alerts(resolved=True)
    assert alert["type"] == "portal_ahead"
    await scene.later(seconds=60)
    assert await scene.alerts() == []
    assert await scene.open_sagas() == 0


async def test_a_conflict_is_settled_by_a_version_of_its_own(scene: Scene) -> None:
    """The same version with other content: neither side is believed, a newer one decides."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.store.put(mentor, version=2, visible=True, now=scene.stage.clock.now())
    await scene.pause(mentor)
    await scene.drain()

    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (3, False)
    assert await scene.answers(mentor) == [
        (1, "done", "applied"), (2, "done", "conflict"), (3, "done", "applied")
    ]  # fmt: skip
    assert await scene.alerts() == []


async def test_two_databases_do_not_leapfrog_for_ever(scene: Scene) -> None:
    """The portal runs ahead twice in a day: the second time a person must look."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    for version in (41, 90):
        scene.portal.store.put(mentor, version=version, visible=True, now=scene.stage.clock.now())
        await scene.bump(mentor)
        await scene.drain()

    row = scene.portal.row(mentor)
    assert row is not None
    assert row.stored.version == 90
    (alert,) = await scene.alerts()
    assert (alert["type"], alert["severity"]) == ("portal_ahead", "critical")


async def test_a_hold_alerts_within_a_minute(scene: Scene) -> None:
    """SYN-11, T1.10: Retry-After holds all, spends no attempt, and hides nothing from people."""
    hlf = await scene.world.organisation()
    first, _ = await scene.known_mentor(hlf)
    second, _ = await scene.known_mentor(hlf)
    scene.portal.outage(status=429, retry_after=120)
    await scene.pause(first)
    await scene.drain()
    await scene.pause(second)
    await scene.drain()
    called, of_second = scene.called(), scene.called(second)
    assert scene.called(first) > 0
    assert await scene.alerts() == []

    await scene.later(seconds=60)
    assert [alert["text"] for alert in await scene.alerts()] == [ALR_1, ALR_1]
    assert (scene.called(), scene.called(second)) == (called, of_second)

    scene.portal.heal()
    await scene.later(seconds=60)
    assert await scene.alerts() == []
    assert await scene.sync_of(second) == (2, "delivered")
    attempts = await scene.world.value(
        "select max(attempt) from outbox.receipt where handler = 'portal'"
    )
    assert attempts == 1


async def test_a_paused_destination_alerts_within_a_minute(scene: Scene) -> None:
    """An operator pauses the portal: nothing is sent, and coordinators learn it all the same."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    await pause_portal(scene, paused=True)
    called = scene.called()
    await scene.pause(mentor)
    await scene.drain()
    await scene.later(seconds=59)
    assert await scene.alerts() == []
    await scene.later(seconds=1)
    assert await scene.alert_types() == [PENDING]
    assert scene.called() == called

    await pause_portal(scene, paused=False)
    await scene.drain()

    assert await scene.alerts() == []
    assert await scene.sync_of(mentor) == (2, "delivered")


async def pause_portal(scene: Scene, *, paused: bool) -> None:
    """Pause or resume the portal's deliveries."""
    async with scene.stage.opened() as conn:
        assert await redrive.set_paused(
            conn, handler="portal", paused=paused, actor="operator", why="maintenance"
        )


async def test_rejected_credentials_alert_at_once_and_resume_after_the_check(scene: Scene) -> None:
    """CRD-2, SYN-11: the first rejection alerts, nobody calls again until the check passes."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.tokens.expire()
    scene.portal.reject_credentials()
    await scene.pause(mentor)
    await scene.drain()

    (alert,) = await scene.alerts()
    assert (alert["type"], alert["severity"]) == ("credential_failure", "critical")
    called = scene.called()
    await scene.later(seconds=60)
    assert await scene.alert_types() == ["credential_failure", PENDING]
    assert scene.called() == called

    scene.portal.heal()
    checks = await check_credentials(scene.stage.app, scene.stage.dsn)
    assert {check.handler: check.outcome for check in checks} == {
        "fcm": "accepted", "portal": "accepted", "portal_read": "accepted"
    }  # fmt: skip
    await scene.drain()

    assert await scene.alerts() == []
    assert await scene.sync_of(mentor) == (2, "delivered")


async def test_the_circuit_closes_by_itself_when_credentials_work_again(scene: Scene) -> None:
    """Nobody has to run the check by hand: the relay asks every half minute."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.tokens.expire()
    scene.portal.reject_credentials()
    await scene.pause(mentor)
    await scene.drain()
    assert await scene.alert_types() == ["credential_failure"]

    scene.portal.heal()
    await scene.later(seconds=30)

    assert await scene.alerts() == []
    assert await scene.sync_of(mentor) == (2, "delivered")


async def test_a_day_unconfirmed_becomes_critical(scene: Scene) -> None:
    """ALR-3: the alert of the first failure is escalated, once, and closes when it is confirmed."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.outage(status=503)
    await scene.pause(mentor)
    await scene.drain()
    for _ in range(23):
        await scene.later(hours=1)
    assert [alert["severity"] for alert in await scene.alerts()] == ["warning"]

    await scene.later(hours=1)

    (alert,) = await scene.alerts()
    assert (alert["severity"], alert["escalated_at"]) == ("critical", scene.stage.clock.now())
    scene.portal.heal()
    await scene.later(hours=1)
    assert await scene.alerts() == []
    assert await scene.sync_of(mentor) == (2, "delivered")


async def test_a_renewal_races_with_a_pending_pause(scene: Scene) -> None:
    """SYN-7: while the pause is on its way the mentor renews; the newest state wins."""
    mentor, _ = await lapse(scene)
    assert await sweep(scene) == 1
    scene.portal.script(silence=Silence.HANG)
    sending = asyncio.create_task(scene.drain())
    await until(lambda: 2 in {each.version for each in scene.portal.requests(mentor=mentor)})
    await renew(scene, mentor)
    scene.portal.heal()
    await sending
    await scene.later(seconds=5)

    assert await scene.mentor_status(mentor) == "active"
    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (3, True)
    assert [version for version, _, _ in await scene.answers(mentor)][-2:] == [2, 3]
    assert await scene.sync_of(mentor) == (3, "delivered")
    assert await scene.alerts() == []
    superseded = await scene.world.value(
        "select count(*) from outbox.receipt where handler = 'portal' and outcome = 'superseded'"
    )
    assert superseded == 1


async def test_a_page_instead_of_an_answer_loses_nothing(scene: Scene) -> None:
    """A proxy answers 200 with HTML: that is no confirmation, and the change is sent again."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.script(status=200, html=True)
    await scene.pause(mentor)
    await scene.drain()
    assert await scene.sync_of(mentor) == (2, "pending")
    assert await scene.alert_types() == [PENDING]

    await scene.later(seconds=5)

    assert (await scene.answers(mentor))[1:] == [
        (2, "retry", "portal_html"), (2, "done", "applied")
    ]  # fmt: skip
    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_retired_endpoint_ends_in_its_alert(scene: Scene, *, by_hand: bool) -> None:
    """410, ALR-2: nobody is paused for good; a person, or the next reconciliation, heals it."""
    mentor, person = await scene.known_mentor(await scene.world.organisation())
    scene.portal.script(status=410, times=None)
    await scene.pause(mentor)
    await scene.drain()
    assert await scene.alert_types() == ["endpoint_retired"]
    await scene.later(seconds=60)
    assert [each["text"] for each in await scene.alerts() if each["type"] == PENDING] == [ALR_1]
    await scene.later(hours=2)
    assert (await scene.answers(mentor))[1:] == [(2, "dead", "endpoint_retired")]

    scene.portal.heal()
    if by_hand:
        async with scene.stage.opened() as conn:
            now = scene.stage.clock.now()
            retried = await coordinator.retry_sync(
                conn, app=scene.stage.app, mentor_id=mentor, actor_id=person, now=now
            )
        assert (retried.made_due, retried.redriven) == (0, 1)
        await scene.drain()
    else:
        report = await scene.stage.reconcile()
        assert report.totals == {"behind": 1}

    assert await scene.sync_of(mentor) == (2 if by_hand else 3, "delivered")
    assert await scene.alerts() == []
    assert await scene.open_sagas() == 0


async def test_t1_10_drift_is_found_and_repaired_by_ordinary_messages(scene: Scene) -> None:
    """T1.10, RCN-1, RCN-3: somebody edits the portal; the next comparison repairs it."""
    hlf = await scene.world.organisation()
    hidden, _ = await scene.known_mentor(hlf)
    shown, _ = await scene.known_mentor(hlf)
    lost, _ = await scene.known_mentor(hlf)
    await scene.pause(hidden)
    await scene.drain()
    await scene.pass_time(hours=1)
    now = scene.stage.clock.now()
    scene.portal.store.put(hidden, version=1, visible=True, now=now)
    scene.portal.store.put(shown, version=0, visible=False, now=now)
    scene.portal.store.remove(lost)
    stranger = uuid4()
    scene.portal.store.put(stranger, version=3, visible=True, now=now)

    report = await scene.stage.reconcile()

    assert report.totals == {"behind": 2, "missing": 1, "orphan": 1}
    assert report.items[0].mentor_id == hidden  # RCN-8: wanted hidden, and shown
    assert (report.complete, report.repaired) == (True, 3)
    held = {}
    for mentor in (hidden, shown, lost):
        row = scene.portal.row(mentor)
        assert row is not None
        held[mentor] = (row.stored.version, row.stored.visible)
    assert held == {hidden: (3, False), shown: (2, True), lost: (2, True)}
    again = await scene.stage.reconcile()
    assert again.totals == {"in_sync": 3, "orphan": 1}
    assert again.repaired == 0


async def test_t1_10_a_listing_that_breaks_off_repairs_no_absence(scene: Scene) -> None:
    """T1.10, RCN-3: who is only missing from half a list is left alone."""
    hlf = await scene.world.organisation()
    mentor, _ = await scene.known_mentor(hlf)
    scene.portal.store.remove(mentor)
    await scene.pass_time(hours=1)
    scene.portal.script(status=503, times=None, routes=(Route.LIST,))

    report = await scene.stage.reconcile()

    assert (report.complete, report.repaired) == (False, 0)
    assert scene.portal.row(mentor) is None
    scene.portal.heal()
    assert (await scene.stage.reconcile()).repaired == 1
    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (2, True)
