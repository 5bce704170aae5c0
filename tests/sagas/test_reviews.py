"""RCN-7: what happened twice waits for a person, gets louder, and is closed with a note."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from sagas import reviews
from sagas.coordinator import Forbidden
from sagas.reviews import UnknownReview
from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagas.reconcile import ReconciliationReport
    from sagas.run import Organisation

NOTE = "the second row was written by hand"


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """The whole application."""
    async with Scene.on(database) as scene:
        yield scene


async def paused_twice(scene: Scene) -> Organisation:
    """An organisation with a mentor paused twice for one period, its index being gone (RCN-6)."""
    hlf = await scene.world.organisation()
    mentor, _ = await scene.followed_mentor(hlf, days=-1)
    await scene.drain()
    await scene.world.conn.execute(
        "drop index mentor_status_history_one_automatic_pause_per_period"
    )
    await again(scene, mentor)
    return hlf


async def again(scene: Scene, mentor: UUID) -> None:
    """The same automatic pause once more in the history."""
    await scene.world.conn.execute(
        "insert into mentor_status_history (mentor_id, organisation_id, from_status, to_status,"
        " source, certification_id, certification_expiry_date, visibility_version, at)"
        " select mentor_id, organisation_id, from_status, to_status, source, certification_id,"
        " certification_expiry_date, visibility_version, at from mentor_status_history"
        " where mentor_id = %s and source = 'certificate_expired' limit 1",
        [mentor],
    )


async def waiting(scene: Scene) -> list[tuple[UUID, str, bool]]:
    """Alert, severity and whether overdue of each review that waits."""
    async with scene.stage.opened() as conn:
        found = await reviews.list_open(conn, now=scene.stage.clock.now())
    return [(each.alert_id, each.severity, each.overdue) for each in found]


async def close(scene: Scene, alert_id: UUID, actor: UUID) -> None:
    """Close one."""
    async with scene.stage.opened() as conn:
        await reviews.close(conn, alert_id, actor_id=actor, note=NOTE, now=scene.stage.clock.now())


async def compared(scene: Scene) -> ReconciliationReport:
    """One reconciliation, delivered."""
    return await scene.stage.reconcile()


async def test_a_hit_is_due_in_a_day_and_louder_when_nobody_came(scene: Scene) -> None:
    """RCN-6, RCN-7, T1.9: due 24 h after it was found; overdue it becomes critical, once."""
    await paused_twice(scene)
    report = await compared(scene)
    assert [each.kind for each in report.duplicates] == ["pause"]
    ((_, severity, overdue),) = await waiting(scene)
    assert (severity, overdue) == ("warning", False)
    due = await scene.world.value(
        "select due_at from dashboard_alerts where type = 'duplicate_log_entries'"
    )
    assert due == scene.stage.clock.now() + timedelta(hours=24)

    await scene.pass_time(hours=24)
    await compared(scene)
    assert [each[1:] for each in await waiting(scene)] == [("warning", False)]
    await scene.pass_time(minutes=1)
    await compared(scene)
    await compared(scene)

    assert [each[1:] for each in await waiting(scene)] == [("critical", True)]
    escalated = await scene.world.value(
        "select escalated_at from dashboard_alerts where type = 'duplicate_log_entries'"
    )
    assert escalated == scene.stage.clock.now()


async def test_a_reviewer_closes_it_with_a_note_and_it_stays_closed(scene: Scene) -> None:
    """RCN-7: the rows stay, the next report says they were reviewed; a third one is news."""
    hlf = await paused_twice(scene)
    await compared(scene)
    ((alert, _, _),) = await waiting(scene)
    reviewer = await scene.world.coordinator(hlf, role="org_admin")

    await close(scene, alert, reviewer)

    (row,) = await scene.world.rows(
        "select resolved_by, resolution_note, resolved_at from dashboard_alerts where id = %s",
        alert,
    )
    assert tuple(row.values()) == (reviewer, NOTE, scene.stage.clock.now())
    (audited,) = await scene.world.rows("select action, actor_role, reason from audit_log")
    assert tuple(audited.values()) == ("duplicates.close", "org_admin", NOTE)
    report = await compared(scene)
    assert [each.reviewed for each in report.duplicates] == [True]
    assert await waiting(scene) == []

    (found,) = report.duplicates
    await again(scene, found.mentor_id)
    report = await compared(scene)
    assert [(each.reviewed, each.occurrences) for each in report.duplicates] == [(False, 3)]
    assert len(await waiting(scene)) == 1


@pytest.mark.parametrize("role", ["coordinator", "chapter_admin", "org_admin"])
async def test_who_may_not_close_is_refused_and_on_record(scene: Scene, role: str) -> None:
    """VIS-9: a coordinator here, and an administrator of another organisation."""
    hlf = await paused_twice(scene)
    await compared(scene)
    ((alert, _, _),) = await waiting(scene)
    other = await scene.world.organisation("NHF") if role == "org_admin" else hlf
    person = await scene.world.coordinator(other, role=role)

    with pytest.raises(Forbidden):
        await close(scene, alert, person)

    assert len(await waiting(scene)) == 1
    outcome = await scene.world.value("select after ->> 'outcome' from audit_log")
    assert outcome == "refused"


async def test_an_administrator_of_all_may_close_and_only_once(scene: Scene) -> None:
    await paused_twice(scene)
    await compared(scene)
    ((alert, _, _),) = await waiting(scene)
    other = await scene.world.organisation("NHF")
    person = await scene.world.coordinator(other, role="hlf_admin")

    await close(scene, alert, person)

    for unknown in (alert, uuid4()):
        with pytest.raises(UnknownReview):
            await close(scene, unknown, person)


async def test_what_closes_by_itself_is_closed_by_nobody(scene: Scene) -> None:
    """The saga's own alerts are not reviews."""
    hlf = await scene.world.organisation()
    mentor, _ = await scene.known_mentor(hlf)
    scene.portal.outage(status=503)
    await scene.pause(mentor)
    await scene.drain()
    alert = await scene.world.value("select id from dashboard_alerts")
    person = await scene.world.coordinator(hlf, role="hlf_admin")

    with pytest.raises(UnknownReview):
        await close(scene, alert, person)


async def test_what_is_everybodys_is_closed_by_an_administrator_of_all(scene: Scene) -> None:
    """ALR-4: without an organisation there is none to be administrator of."""
    hlf = await scene.world.organisation()
    alert = await scene.world.value(
        "insert into dashboard_alerts (type, subject, text) values"
        " ('payload_rejected', 'fcm:push_too_large', '') returning id"
    )
    of_one = await scene.world.coordinator(hlf, role="org_admin")
    of_all = await scene.world.coordinator(hlf, role="hlf_admin")

    async def close_it(actor: UUID) -> None:
        async with scene.stage.opened() as conn:
            now = scene.stage.clock.now()
            await reviews.close_alert(conn, alert, actor_id=actor, note=NOTE, now=now)

    with pytest.raises(Forbidden):
        await close_it(of_one)
    await close_it(of_all)
    with pytest.raises(reviews.UnknownAlert):
        await close_it(of_all)
