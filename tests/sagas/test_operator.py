"""Retrying single deliveries and dead letters: who may, what it does, and that it is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from handlers.emulators.fcm import Outage
from sagas import operator
from sagas.coordinator import Forbidden
from sagas.operator import Redriven, UnknownDelivery
from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagas.run import Organisation

WAITING, DEAD = Redriven(1, 0, dry_run=False), Redriven(0, 1, dry_run=False)


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """The whole application: its own outages make what is retried here."""
    async with Scene.on(database) as scene:
        yield scene


async def retry(scene: Scene, delivery: int, actor: UUID, *, dry_run: bool = False) -> Redriven:
    """Retry one delivery."""
    async with scene.stage.opened() as conn:
        return await operator.retry_delivery(
            conn,
            app=scene.stage.app,
            delivery_id=delivery,
            actor_id=actor,
            now=scene.stage.clock.now(),
            dry_run=dry_run,
        )


async def retry_all(
    scene: Scene, actor: UUID, *, dry_run: bool = False, group: str | None = None
) -> Redriven:
    """Retry every dead letter, or those of a failure group."""
    async with scene.stage.opened() as conn:
        return await operator.retry_dead(
            conn, app=scene.stage.app, actor_id=actor, now=scene.stage.clock.now(),
            dry_run=dry_run, failure_group=group,
        )  # fmt: skip


async def waiting_sync(scene: Scene, organisation: Organisation) -> tuple[UUID, UUID, int]:
    """A mentor, his coordinator, and his portal delivery after a failed attempt."""
    mentor, coordinator = await scene.known_mentor(organisation)
    scene.portal.script(status=503)
    await scene.pause(mentor)
    await scene.drain()
    delivery = await scene.world.value("select id from outbox.delivery where handler = 'portal'")
    return mentor, coordinator, delivery


async def dead_sync(scene: Scene, organisation: Organisation) -> tuple[UUID, UUID, int]:
    """The same, given up."""
    mentor, coordinator = await scene.known_mentor(organisation)
    scene.portal.deny(mentor)
    await scene.pause(mentor)
    await scene.drain()
    delivery = await scene.world.value(
        "select delivery_id from outbox.dead_letter order by delivery_id desc limit 1"
    )
    return mentor, coordinator, delivery


async def unknown_push(scene: Scene, organisation: Organisation) -> int:
    """A push whose outcome nobody knows."""
    await scene.world.mentor(organisation, days=7)
    scene.fcm.outage = Outage(status=200, html=True)
    await scene.night()
    scene.fcm.outage = None
    found: int = await scene.world.value(
        "select id from outbox.delivery where unknown_at is not null"
    )
    return found


async def audited(scene: Scene) -> list[dict[str, Any]]:
    """What was done, by whom, oldest first."""
    return await scene.world.rows(
        "select action, actor_id, actor_role, mentor_id, subject, after from audit_log order by id"
    )


async def test_a_waiting_delivery_is_tried_at_once(scene: Scene) -> None:
    """SYN-8, AUD-1: due now, and told who did what to whom."""
    hlf = await scene.world.organisation()
    mentor, coordinator, delivery = await waiting_sync(scene, hlf)
    await scene.drain()
    assert await scene.sync_of(mentor) == (2, "pending")

    assert await retry(scene, delivery, coordinator) == WAITING
    await scene.drain()

    assert await scene.sync_of(mentor) == (2, "delivered")
    (entry,) = await audited(scene)
    assert entry == {
        "action": "delivery.retry",
        "actor_id": coordinator,
        "actor_role": "coordinator",
        "mentor_id": mentor,
        "subject": {"delivery_id": delivery},
        "after": {"outcome": "done", "made_due": 1, "redriven": 0},
    }


async def test_a_dead_letter_rises_and_is_delivered(scene: Scene) -> None:
    hlf = await scene.world.organisation()
    mentor, coordinator, delivery = await dead_sync(scene, hlf)
    scene.portal.admit(mentor)

    assert await retry(scene, delivery, coordinator) == DEAD
    await scene.drain()

    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []
    outcomes = await scene.world.rows(
        "select outcome, coalesce(reason, detail ->> 'actor') as reason from outbox.receipt"
        " where delivery_id = %s order by id",
        delivery,
    )
    assert [(row["outcome"], row["reason"]) for row in outcomes] == [
        ("dead", "unknown_mentor"), ("redriven", str(coordinator)), ("done", None)
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["coordinator", "chapter_admin", "org_admin", "hlf_admin"])
async def test_who_may_and_who_may_not(scene: Scene, role: str) -> None:
    """VIS-2, VIS-4: rights reach as far as the role, and end with it; refusals are on record."""
    hlf, nhf = await scene.world.organisation(), await scene.world.organisation("NHF")
    mentor, _, delivery = await waiting_sync(scene, hlf)
    chapter = await scene.world.value(
        "select chapter_id from chapter_memberships where mentor_id = %s", mentor
    )
    elsewhere = await scene.world.chapter(hlf, "Bergen")
    local = role in {"coordinator", "chapter_admin"}
    allowed = await scene.world.coordinator(hlf, *([chapter] if local else []), role=role)
    refused = [
        mentor,
        uuid4(),
        await scene.world.coordinator(nhf, role=role),
        await scene.world.coordinator(hlf, chapter, role=role, active=False),
    ]
    if local:
        refused.append(await scene.world.coordinator(hlf, elsewhere, role=role))
    for actor in refused:
        with pytest.raises(Forbidden, match="is not allowed"):
            await retry(scene, delivery, actor)
    entries = await audited(scene)
    assert [entry["actor_id"] for entry in entries] == refused
    assert {entry["actor_role"] for entry in entries} == {"none"}
    assert {entry["after"]["outcome"] for entry in entries} == {"refused"}
    before = await scene.world.rows("select * from outbox.delivery where id = %s", delivery)
    assert before[0]["attempts"] == 1

    assert await retry(scene, delivery, allowed) == WAITING


async def test_a_dry_run_counts_and_changes_nothing(scene: Scene) -> None:
    hlf = await scene.world.organisation()
    boss = await scene.world.coordinator(hlf, role="hlf_admin")
    _, _, dead = await dead_sync(scene, hlf)
    _, _, waiting = await waiting_sync(scene, hlf)
    tables = ("select * from outbox.delivery order by id", "select * from outbox.dead_letter")
    before = [await scene.world.rows(table) for table in tables]

    assert await retry(scene, waiting, boss, dry_run=True) == Redriven(1, 0, dry_run=True)
    assert await retry(scene, dead, boss, dry_run=True) == Redriven(0, 1, dry_run=True)
    assert await retry_all(scene, boss, dry_run=True) == Redriven(0, 1, dry_run=True)

    assert [await scene.world.rows(table) for table in tables] == before
    assert [entry["after"]["outcome"] for entry in await audited(scene)] == ["dry_run"] * 3


async def test_what_is_being_tried_is_left_alone(scene: Scene) -> None:
    """P3: no second attempt beside one in flight; the dry run says the same."""
    hlf = await scene.world.organisation()
    mentor, coordinator = await scene.known_mentor(hlf)
    await scene.pause(mentor)
    (claimed,) = await scene.stage.relay.lanes["portal"].claims.claim(1)

    for dry_run in (True, False):
        found = await retry(scene, claimed.id, coordinator, dry_run=dry_run)
        assert found == Redriven(0, 0, dry_run)
    lease = await scene.world.value(
        "select lease_token from outbox.delivery where id = %s", claimed.id
    )
    assert lease == claimed.lease_token


async def test_a_push_names_no_mentor_and_is_for_administrators(scene: Scene) -> None:
    """DSP-7: an unknown push is sent again at an administrator's word, and only then."""
    hlf = await scene.world.organisation("HLF", visibility_channel="none")
    delivery = await unknown_push(scene, hlf)
    chapter = await scene.world.chapter(hlf)
    nhf = await scene.world.organisation("NHF")
    for home, role, places in (
        (hlf, "coordinator", [chapter]),
        (hlf, "chapter_admin", [chapter]),
        (nhf, "org_admin", []),
    ):
        actor = await scene.world.coordinator(home, *places, role=role)
        with pytest.raises(Forbidden):
            await retry(scene, delivery, actor)
    boss = await scene.world.coordinator(hlf, role="org_admin", device=False)
    assert await retry(scene, delivery, boss, dry_run=True) == Redriven(1, 0, dry_run=True)
    assert scene.fcm.sends == 0

    assert await retry(scene, delivery, boss) == WAITING
    await scene.drain()

    assert len(scene.fcm.deliveries) == 1
    assert await scene.statuses() == {"delivered": 1}


async def test_what_is_settled_is_nothing_to_retry(scene: Scene) -> None:
    hlf = await scene.world.organisation()
    _, coordinator = await scene.known_mentor(hlf)
    settled = await scene.world.value(
        "select delivery_id from outbox.receipt where handler = 'portal'"
    )
    for delivery in (settled, 4711):
        with pytest.raises(UnknownDelivery, match=f"`outbox explain {delivery}`"):
            await retry(scene, delivery, coordinator)
    assert await audited(scene) == []


async def test_all_dead_letters_are_for_administrators(scene: Scene) -> None:
    hlf = await scene.world.organisation()
    mentors = []
    for _ in range(3):
        mentor, coordinator, _ = await dead_sync(scene, hlf)
        scene.portal.admit(mentor)
        mentors.append(mentor)
    with pytest.raises(Forbidden):
        await retry_all(scene, coordinator)
    assert await scene.world.value("select count(*) from outbox.dead_letter") == 3

    boss = await scene.world.coordinator(hlf, role="hlf_admin")
    assert await retry_all(scene, boss) == Redriven(0, 3, dry_run=False)
    await scene.drain()

    assert await scene.world.value("select count(*) from outbox.dead_letter") == 0
    assert {await scene.sync_of(mentor) for mentor in mentors} == {(2, "delivered")}
    assert [(one["actor_role"], one["after"]["outcome"]) for one in await audited(scene)] == [
        ("none", "refused"), ("hlf_admin", "done")
    ]  # fmt: skip
