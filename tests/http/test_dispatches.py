"""Sending a push again over HTTP, and the functions of the app's first version (DSP-9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from outbox import unknown

if TYPE_CHECKING:
    from tests.http.front import Front


async def night_of(front: Front, address: str) -> tuple[UUID, UUID, UUID]:
    """A mentor whose one reminder went to `address`, his coordinator, and the row of the log."""
    world = front.scene.world
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    mentor = await world.mentor(organisation, chapter, days=60, device=False)
    coordinator = await world.coordinator(organisation, chapter)
    await world.conn.execute(
        "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
        [mentor, address, world.now],
    )
    await front.scene.night()
    log_id: UUID = await world.value(
        "select id from cert_notification_log where audience = 'mentor'"
    )
    return mentor, coordinator, log_id


async def status(front: Front, log_id: UUID) -> str:
    found: str = await front.scene.world.value(
        "select status from cert_notification_log where id = %s", log_id
    )
    return found


async def mend(front: Front) -> None:
    """The device gets an address that works."""
    await front.scene.world.conn.execute(
        "update device_tokens set address = 'ok-' || id, invalidated_at = null"
    )


async def test_a_failed_push_is_sent_again_on_its_own_row(front: Front) -> None:
    """DED-10: the same row, and clicks within a minute are one."""
    _, coordinator, log_id = await night_of(front, "unreg-1")
    assert await status(front, log_id) == "failed"
    await mend(front)

    first = await front.ask("POST", f"/dispatches/{log_id}/retry", coordinator)
    again = await front.ask("POST", f"/dispatches/{log_id}/retry", coordinator)
    await front.scene.drain()

    assert first.status_code == again.status_code == 202
    assert first.json() == {
        "log_id": str(log_id),
        "deliveries": 1,
        "may_arrive_twice": False,
        "repeated": False,
    }
    assert again.json()["repeated"]
    assert await status(front, log_id) == "delivered"
    assert len(front.scene.fcm.deliveries) == 1


async def test_an_unknown_push_is_sent_again_and_says_so(front: Front) -> None:
    """DED-12: nobody knows whether the first one arrived."""
    _, coordinator, log_id = await night_of(front, "html-1")
    assert await status(front, log_id) == "unknown"
    await mend(front)

    answer = await front.ask("POST", f"/dispatches/{log_id}/retry", coordinator)
    await front.scene.drain()

    assert answer.json()["may_arrive_twice"]
    assert await status(front, log_id) == "delivered"
    (sent,) = front.scene.fcm.deliveries
    assert "to ganger" in str(sent)


async def test_a_settlement_and_a_retry_at_once_wait_for_each_other_in_one_order(
    front: Front,
) -> None:
    """DED-10: a late answer has its delivery when somebody clicks; both end, and the answer counts.

    A retry that took the log's row first would wait for the delivery, and the settlement for it.
    """
    _, coordinator, log_id = await night_of(front, "html-1")
    world, app = front.scene.world, front.scene.stage.app
    ids = [row["id"] for row in await world.rows("select id from outbox.delivery")]
    waiting = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with world.transaction() as conn:
        await conn.execute("select from outbox.delivery where id = any(%s) for update", [ids])
        click = asyncio.create_task(front.ask("POST", f"/dispatches/{log_id}/retry", coordinator))
        while not await world.value(waiting):
            assert not click.done()
        settled = await unknown.resolve(conn, app, ids, unknown.Resolution.DELIVERED, actor="late")
    answer = await click

    assert settled == set(ids)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_retry")
    assert await status(front, log_id) == "delivered"


async def test_what_was_delivered_is_not_sent_again(front: Front) -> None:
    _, coordinator, log_id = await night_of(front, "ok-1")

    answer = await front.ask("POST", f"/dispatches/{log_id}/retry", coordinator)

    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_retry")


async def test_a_row_of_the_log_is_nobodys_to_find(front: Front) -> None:
    """VIS-5: the mentor himself and a stranger are told the same as of a row that is not there."""
    mentor, _, log_id = await night_of(front, "unreg-1")

    answers = [
        await front.ask("POST", f"/dispatches/{row}/retry", user)
        for user in (mentor, uuid4())
        for row in (log_id, uuid4())
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert await status(front, log_id) == "failed"


async def paused(front: Front) -> tuple[UUID, UUID]:
    """A mentor who was paused without anybody being told, and his coordinator."""
    organisation = await front.scene.world.organisation()
    mentor, coordinator = await front.scene.followed_mentor(organisation, days=100)
    await front.scene.pause(mentor)
    return mentor, coordinator


def order(mentor: UUID, kind: str = "mentor_paused", **whom: list[str]) -> dict[str, Any]:
    """What the app's first version sends."""
    return {"payload": {"kind": kind, "mentor_id": str(mentor), "title": "Kari er borte"}, **whom}


async def addresses(front: Front, user: UUID) -> list[str]:
    rows = await front.scene.world.rows(
        "select address from device_tokens where user_id = %s", user
    )
    return [row["address"] for row in rows]


SEND = "/functions/v1/send-push-notifications"


async def test_t4_6_the_app_orders_a_push_and_the_server_words_it(front: Front) -> None:
    """T4.1, DSP-9: addresses stand for people, texts of the client are not used, once a version."""
    mentor, coordinator = await paused(front)
    wanted = order(
        mentor, tokens=await addresses(front, coordinator), recipients=[str(coordinator)]
    )

    first = await front.ask("POST", SEND, mentor, json=wanted)
    again = await front.ask("POST", SEND, mentor, json=wanted)
    await front.scene.drain()

    assert (first.status_code, first.json()) == (
        202,
        {
            "event": "mentor_paused",
            "mentorId": str(mentor),
            "recipientCount": 1,
            "queuedCount": 1,
            "noTokenCount": 0,
        },
    )
    assert again.json()["queuedCount"] == 0
    (sent,) = front.scene.fcm.deliveries
    assert "Kari" not in str(sent)
    assert "mentor_paused" in str(sent)


async def test_nobody_beyond_the_mentor_is_reached(front: Front) -> None:
    """DSP-9: one address too many, and nothing is sent to anybody."""
    mentor, coordinator = await paused(front)
    world = front.scene.world
    stranger = await world.coordinator(await world.organisation("NHF"))
    (theirs,) = await addresses(front, stranger)
    beyond: tuple[dict[str, list[str]], ...] = (
        {"recipients": [str(coordinator), str(stranger)]},
        {"tokens": [theirs]},
        {"tokens": ["registered-by-nobody"]},
    )
    for whom in beyond:
        answer = await front.ask("POST", SEND, mentor, json={**order(mentor), **whom})
        assert answer.status_code == 403
    foreign = await front.ask(
        "POST", SEND, stranger, json=order(mentor, recipients=[str(coordinator)])
    )

    assert foreign.status_code == 404
    assert await world.value("select count(*) from notification_groups") == 0


async def test_a_push_tells_no_state_that_is_not(front: Front) -> None:
    mentor, coordinator = await paused(front)
    for kind, code in (("mentor_reactivated", 409), ("sync_alert", 422), ("mentor_paused", 422)):
        whom = [] if code == 422 else [str(coordinator)]
        answer = await front.ask("POST", SEND, mentor, json=order(mentor, kind, recipients=whom))
        assert answer.status_code == code


@pytest.mark.parametrize("nobody", [uuid4()])
async def test_a_mentor_nobody_knows_is_not_found(front: Front, nobody: UUID) -> None:
    answer = await front.ask("POST", SEND, uuid4(), json=order(nobody, recipients=[str(nobody)]))

    assert answer.status_code == 404
