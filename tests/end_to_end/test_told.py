"""One event about one mentor, from the sweep to the phones: who was told, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from handlers.texts import Kind
from sagas.dispatches import Told, told_of

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.run import Organisation
    from tests.end_to_end.scene import Scene


async def coordinator(scene: Scene, hlf: Organisation, *chapters: UUID, at: str | None) -> UUID:
    """A coordinator of these chapters with a device at this address, or with none."""
    person = await scene.world.coordinator(hlf, *chapters, device=False)
    if at is not None:
        await scene.world.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
            [person, at, scene.world.now],
        )
    return person


async def told(scene: Scene, mentor: UUID, event: Kind = Kind.MENTOR_PAUSED) -> Told | None:
    """What the event came to so far."""
    async with scene.stage.opened() as conn:
        return await told_of(conn, mentor, event)


async def result(scene: Scene, mentor: UUID) -> dict[str, Any]:
    """The pause as clients read it; nobody's push is still on its way."""
    found = await told(scene, mentor)
    assert found is not None
    assert found.waiting == 0
    return found.result.as_json()


async def test_t4_5_the_worked_event_of_two_chapters(scene: Scene) -> None:
    """T4.5, T4.3, T4.8, RES-3, REC-3: Anna once, Bo without device, Cid at last."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    x, y = [await scene.world.chapter(hlf, name) for name in ("X", "Y")]
    await coordinator(scene, hlf, x, y, at="ok-anna")
    await coordinator(scene, hlf, x, at=None)
    await coordinator(scene, hlf, y, at="flaky2-cid")
    mentor = await scene.world.mentor(hlf, x, y, days=-1, device=False)

    await scene.night()
    early = await told(scene, mentor)
    assert early is not None
    assert (early.waiting, early.result.success_count) == (1, 1)
    await scene.later(seconds=15)
    await scene.later(seconds=25)

    assert await result(scene, mentor) == {
        "event": "mentor_paused",
        "mentorId": str(mentor),
        "outcome": "all_success",
        "recipientCount": 3,
        "successCount": 2,
        "failureCount": 0,
        "noTokenCount": 1,
        "failures": [],
    }
    pauses = [one for one in scene.fcm.deliveries if one.payload["data"]["kind"] == "mentor_paused"]
    assert sorted(one.address for one in pauses) == ["flaky2-cid", "ok-anna"]
    assert scene.fcm.calls_of("flaky2-cid") == 3
    assert await scene.world.value(
        "select count(*) from notifications where kind = 'mentor_paused'"
    ) == 3  # fmt: skip


async def test_t4_5_one_reached_and_one_not_is_a_partial_failure(scene: Scene) -> None:
    """T4.5, RES-3: who was not reached is named with class and attempts, by id alone."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    chapter = await scene.world.chapter(hlf)
    await coordinator(scene, hlf, chapter, at="ok-1")
    gone = await coordinator(scene, hlf, chapter, at="unreg-2")
    mentor = await scene.world.mentor(hlf, chapter, days=-1, device=False)

    await scene.night()

    found = await result(scene, mentor)
    assert (found["outcome"], found["successCount"], found["failureCount"]) == (
        "partial_failure", 1, 1
    )  # fmt: skip
    assert found["failures"] == [
        {"recipientId": str(gone), "errorClass": "address_unregistered", "attempts": 1}
    ]


@pytest.mark.parametrize(
    ("device", "outcome", "recipients"),
    [(True, "no_devices", 1), (False, "no_recipients", 0)],
)
async def test_t4_5_nobody_with_a_device_and_nobody_at_all(
    scene: Scene, *, device: bool, outcome: str, recipients: int
) -> None:
    """T4.5, RES-3: no device is no failure and the inbox has it; nobody resolved counts nothing."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    chapter = await scene.world.chapter(hlf)
    if device:
        await coordinator(scene, hlf, chapter, at=None)
    mentor = await scene.world.mentor(hlf, chapter, days=-1, device=False)

    await scene.night()

    found = await result(scene, mentor)
    assert (found["outcome"], found["recipientCount"], found["noTokenCount"]) == (
        outcome, recipients, recipients
    )  # fmt: skip
    assert (found["successCount"], found["failureCount"], found["failures"]) == (0, 0, [])
    inbox = "select count(*) from notifications where kind = 'mentor_paused'"
    assert await scene.world.value(inbox) == recipients


async def test_a_change_that_never_was_is_told_apart(scene: Scene) -> None:
    """RES-3: no event is not an event without recipients; a reminder is no change of status."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    mentor = await scene.world.mentor(hlf, days=30)

    assert await told(scene, mentor) is None
    with pytest.raises(ValueError, match="no change of status"):
        await told(scene, mentor, Kind.CERT_LAPSED)
