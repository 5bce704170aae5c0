"""What people do about a mentor over HTTP: retry, force, pause, reactivate; and who may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from handlers.texts import say
from tests.end_to_end.scene import ALR_1

if TYPE_CHECKING:
    from tests.http.front import Front


async def behind(front: Front) -> tuple[UUID, UUID]:
    """A mentor whose newest version the portal has refused once, and his coordinator."""
    scene = front.scene
    mentor, coordinator = await scene.known_mentor(await scene.world.organisation())
    scene.portal.outage()
    await scene.bump(mentor)
    await scene.drain()
    return mentor, coordinator


async def audited(front: Front, action: str) -> list[tuple[str, str | None]]:
    rows = await front.scene.world.rows(
        "select actor_role, after ->> 'outcome' as outcome from audit_log"
        " where action = %s order by id",
        action,
    )
    return [(row["actor_role"], row["outcome"]) for row in rows]


async def test_a_coordinator_sees_the_alert_and_its_buttons(front: Front) -> None:
    """ALR-1, ALR-2, T0.11."""
    mentor, coordinator = await behind(front)

    answer = await front.ask("GET", "/coordinator/alerts", coordinator)

    (alert,) = answer.json()["items"]
    assert (alert["text"], alert["mentor_id"]) == (ALR_1, str(mentor))
    assert alert["deeds"] == {
        "retry": f"/mentors/{mentor}/sync/retry",
        "retry_label": "Prøv igjen nå",
        "force": f"/mentors/{mentor}/sync/force",
        "force_label": "Send på nytt",
    }
    assert alert["meaning"] == say("alert-dynamics-sync-pending.meaning", "nb")
    assert alert["action"] == say("alert-dynamics-sync-pending.action", "nb")
    for nobody in (uuid4(), mentor):
        assert (await front.ask("GET", "/coordinator/alerts", nobody)).json()["items"] == []


async def test_t0_11_a_press_of_retry_heals_and_repeated_ones_are_one(front: Front) -> None:
    """SYN-8: 202 with the event; clicks within 60 s are one, from whichever process."""
    mentor, coordinator = await behind(front)
    front.scene.portal.heal()

    first = await front.ask("POST", f"/mentors/{mentor}/sync/retry", coordinator)
    again = await front.ask("POST", f"/mentors/{mentor}/sync/retry", coordinator)
    await front.scene.drain()
    resolved = await front.ask("GET", "/coordinator/alerts?state=resolved", coordinator)

    assert first.status_code == again.status_code == 202
    assert (first.json()["made_due"], first.json()["repeated"]) == (1, False)
    assert (again.json()["made_due"], again.json()["repeated"]) == (1, True)
    assert first.json()["event"]["status"] == "pending"
    assert first.json()["message"] == say("retry-done", "nb", count=1)
    assert [alert["text"] for alert in resolved.json()["items"]] == [ALR_1]
    assert await audited(front, "sync.retry") == [
        ("coordinator", "done"),
        ("coordinator", "repeated"),
    ]


async def test_many_clicks_at_once_are_one(front: Front) -> None:
    mentor, coordinator = await behind(front)

    answers = await asyncio.gather(
        *[front.ask("POST", f"/mentors/{mentor}/sync/retry", coordinator) for _ in range(6)]
    )

    assert sorted(answer.json()["repeated"] for answer in answers) == [False, *[True] * 5]


async def test_a_forced_sync_answers_202_until_the_portal_confirmed_it(front: Front) -> None:
    """SYN-9: the outcome, or 202; also when nothing is pending."""
    mentor, coordinator = await front.scene.known_mentor(await front.scene.world.organisation())

    forced = await front.ask("POST", f"/mentors/{mentor}/sync/force", coordinator)
    await front.scene.pass_time(seconds=61)
    waiting = asyncio.create_task(
        front.ask("POST", f"/mentors/{mentor}/sync/force?wait=10", coordinator)
    )
    versions = "select max(visibility_version) from peer_mentors"
    while await front.scene.world.value(versions) < 3:  # noqa: ASYNC110 - the database tells nobody
        await asyncio.sleep(0)
    await front.scene.drain()
    confirmed = await waiting

    assert (forced.status_code, forced.json()["version"]) == (202, 2)
    assert (confirmed.status_code, confirmed.json()["version"]) == (200, 3)
    assert confirmed.json()["event"]["status"] == "delivered"


@pytest.mark.parametrize("deed", ["retry", "force"])
async def test_who_may_not_is_told_no_more_than_he_may_see(front: Front, deed: str) -> None:
    """VIS-9: the mentor is refused, to a stranger there is nobody; both are on record."""
    mentor, _ = await behind(front)
    stranger = await front.scene.world.coordinator(await front.scene.world.organisation("NHF"))

    own = await front.ask("POST", f"/mentors/{mentor}/sync/{deed}", mentor)
    foreign = await front.ask("POST", f"/mentors/{mentor}/sync/{deed}", stranger)
    nobody = await front.ask("POST", f"/mentors/{uuid4()}/sync/{deed}", stranger)

    assert (own.status_code, foreign.status_code, nobody.status_code) == (403, 404, 404)
    assert foreign.json()["detail"] == nobody.json()["detail"]
    assert await audited(front, f"sync.{deed}") == [("none", "refused")] * 2


async def test_without_a_portal_there_is_nothing_to_sync(front: Front) -> None:
    organisation = await front.scene.world.organisation(visibility_channel="none")
    mentor, coordinator = await front.scene.followed_mentor(organisation, days=100)

    answer = await front.ask("POST", f"/mentors/{mentor}/sync/retry", coordinator)

    assert (answer.status_code, answer.json()["code"]) == (409, "no_channel")


async def change(
    front: Front, mentor: UUID, user: UUID, deed: str, reason: str | None = None
) -> tuple[int, dict[str, Any]]:
    answer = await front.ask("POST", f"/mentors/{mentor}/{deed}", user, json={"reason": reason})
    return answer.status_code, answer.json()


async def notices(front: Front) -> list[tuple[UUID, str]]:
    rows = await front.scene.world.rows(
        "select recipient_id, kind from notifications order by created_at, kind, recipient_id"
    )
    return [(row["recipient_id"], row["kind"]) for row in rows]


async def test_a_mentor_pauses_himself_and_comes_back(front: Front) -> None:
    """VIS-2, PAU-10: state, version, portal, history and audit; his coordinators hear of it."""
    mentor, coordinator = await front.scene.known_mentor(await front.scene.world.organisation())

    paused = await change(front, mentor, mentor, "pause", "holiday")
    again = await change(front, mentor, mentor, "pause")
    await front.scene.drain()
    hidden = front.scene.portal.row(mentor)
    back = await change(front, mentor, mentor, "reactivate")
    await front.scene.drain()

    assert paused == (
        200,
        {
            "mentor_id": str(mentor),
            "status": "paused",
            "changed": True,
            "version": 2,
            "message": say("paused-done", "nb"),
        },
    )
    assert (again[1]["changed"], again[1]["version"]) == (False, 2)
    assert (back[1]["status"], back[1]["changed"]) == ("active", True)
    assert hidden is not None
    assert not hidden.stored.visible
    assert sorted(await notices(front)) == sorted(
        [(coordinator, "mentor_paused"), (coordinator, "mentor_reactivated")]
    )
    rows = await front.scene.world.rows(
        "select actor_id, reason, source from mentor_status_history order by id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (mentor, "holiday", "manual"),
        (mentor, None, "manual"),
    ]
    audit = await front.scene.world.rows(
        "select actor_id, actor_role, subject ->> 'scope' as scope from audit_log order by id"
    )
    assert [tuple(row.values()) for row in audit] == [(mentor, "authenticated", "self")] * 2


async def test_a_coordinator_pauses_and_the_mentor_hears_of_it(front: Front) -> None:
    """Whoever acts is not told what he did; the push names nobody's reason (PII-3)."""
    mentor, coordinator = await front.scene.followed_mentor(
        await front.scene.world.organisation(), days=100
    )
    await change(front, mentor, coordinator, "pause", "a-marker-of-a-reason")
    await front.scene.drain()

    assert await notices(front) == [(mentor, "mentor_paused")]
    assert "a-marker" not in str(front.scene.fcm.deliveries)
    assert await front.scene.statuses() == {"delivered": 1}


async def test_a_pause_taken_back_at_once_is_not_pushed(front: Front) -> None:
    """DSP-8, PAU-10: what has passed when its turn comes is told to nobody."""
    mentor, coordinator = await front.scene.followed_mentor(
        await front.scene.world.organisation(), days=100
    )
    await change(front, mentor, coordinator, "pause")
    await change(front, mentor, coordinator, "reactivate")
    await front.scene.drain()

    assert await notices(front) == [(mentor, "mentor_reactivated")]
    assert await front.scene.statuses() == {"delivered": 1}


@pytest.mark.parametrize("who", ["coordinator elsewhere", "organisation admin", "stranger"])
async def test_nobody_else_changes_a_status(front: Front, who: str) -> None:
    """VIS-2, T4.7: not even to know of him; the attempt is on record (VIS-9)."""
    world = front.scene.world
    organisation = await world.organisation()
    mentor, _ = await front.scene.followed_mentor(organisation, days=100)
    elsewhere = await world.chapter(organisation, "Bergen")
    person = {
        "coordinator elsewhere": lambda: world.coordinator(organisation, elsewhere),
        "organisation admin": lambda: world.coordinator(organisation, role="org_admin"),
    }.get(who)
    user = uuid4() if person is None else await person()

    for deed in ("pause", "reactivate"):
        status, problem = await change(front, mentor, user, deed)
        assert (status, problem["code"]) == (404, "not_found")

    assert await front.scene.mentor_status(mentor) == "active"
    for deed in ("pause", "reactivate"):
        assert await audited(front, f"mentor.{deed}") == [("none", "refused")]


async def test_a_lapse_is_not_lifted_by_hand(front: Front) -> None:
    """VIS-6: not by him, not by his coordinator; the attempts are on record."""
    mentor, coordinator = await front.scene.followed_mentor(
        await front.scene.world.organisation(), days=-1
    )
    await front.scene.night()

    for person in (mentor, coordinator):
        status, problem = await change(front, mentor, person, "reactivate")
        assert (status, problem["code"]) == (409, "certificate_lapsed")

    assert await front.scene.mentor_status(mentor) == "paused"
    assert await audited(front, "mentor.reactivate") == [("none", "refused")] * 2


async def test_a_renewed_mentor_whose_organisation_keeps_him_paused_asks_his_coordinator(
    front: Front,
) -> None:
    """VIS-6, PAU-9: the pause of a lapse is not his to lift, valid again or not."""
    world = front.scene.world
    organisation = await world.organisation()
    await world.conn.execute("update organisations set auto_reactivate_on_renewal = false")
    mentor, coordinator = await front.scene.followed_mentor(organisation, days=-1)
    await front.scene.night()
    await world.certificate(organisation, mentor, days=300)

    own = await change(front, mentor, mentor, "reactivate")
    theirs = await change(front, mentor, coordinator, "reactivate")

    assert (own[0], own[1]["code"]) == (403, "own_certificate_pause")
    assert (theirs[0], theirs[1]["status"]) == (200, "active")


async def test_who_has_left_is_neither_paused_nor_active(front: Front) -> None:
    organisation = await front.scene.world.organisation()
    chapter = await front.scene.world.chapter(organisation)
    mentor = await front.scene.world.mentor(organisation, chapter, status="inactive")

    for deed in ("pause", "reactivate"):
        status, problem = await change(front, mentor, mentor, deed)
        assert (status, problem["code"]) == (409, "inactive")


@pytest.mark.parametrize("open_now", [True, False])
async def test_the_emergency_switch_reaches_as_far_as_it_says(
    front: Front, *, open_now: bool
) -> None:
    """VIS-7, both positions, over HTTP; its use is told apart in the audit."""
    world = front.scene.world
    organisation = await world.organisation()
    mentor, _ = await front.scene.followed_mentor(organisation, days=100)
    helper = await world.coordinator(organisation, await world.chapter(organisation, "Bergen"))
    await world.conn.execute(
        "insert into feature_flags (organisation_id, flag, enabled, expires_at, reason)"
        " values (%s, 'widen_coordinator_scope', true, now() + %s::interval, 'flood')",
        [organisation.id, "1 hour" if open_now else "-1 second"],
    )

    status, _ = await change(front, mentor, helper, "pause")

    assert status == (200 if open_now else 404)
    scopes = await world.rows(
        "select subject ->> 'scope' as scope from audit_log where mentor_id is not null"
    )
    assert [row["scope"] for row in scopes] == (["widened"] if open_now else [None])
