"""PAU-7: a certificate that lapses by a change is swept with it, not at the quarter hour."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest_asyncio

from handlers.commands import SweepRequested
from outbox import apublish
from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """The whole application."""
    async with Scene.on(database) as scene:
        yield scene


async def test_who_lapses_by_a_change_is_paused_and_his_coordinator_told(scene: Scene) -> None:
    """PAU-4, PAU-7, SYN-6: nobody ran anything; the portal has it, too."""
    mentor, person = await scene.known_mentor(await scene.world.organisation())

    await scene.world.conn.execute(
        "update certifications set expiry_date = %s - 1 where mentor_id = %s",
        [scene.stage.clock.now().date(), mentor],
    )
    await scene.drain()

    assert await scene.mentor_status(mentor) == "paused"
    row = scene.portal.row(mentor)
    assert row is not None
    assert not row.stored.visible
    told = await scene.world.rows("select kind from notifications where recipient_id = %s", person)
    assert [each["kind"] for each in told] == ["mentor_paused"]


async def test_the_sweep_after_it_finds_nobody(scene: Scene) -> None:
    """PAU-3: the same work, done once."""
    hlf = await scene.world.organisation()
    mentor, _ = await scene.followed_mentor(hlf, days=-1)
    await scene.drain()
    assert await scene.mentor_status(mentor) == "paused"

    report = await scene.night()

    assert report.sweep.paused == 0
    paused = await scene.world.value(
        "select count(*) from mentor_status_history where to_status = 'paused'"
    )
    assert paused == 1


async def test_an_organisation_that_is_gone_is_let_be(scene: Scene) -> None:
    """Its request came too late."""
    async with scene.stage.opened() as conn:
        await apublish(conn, SweepRequested(organisation_id=uuid4()), key="organisation:gone")
    await scene.drain()

    outcome = await scene.world.rows(
        "select outcome, reason from outbox.receipt where handler = 'sweep'"
    )
    assert [tuple(each.values()) for each in outcome] == [("suppressed", "organisation_gone")]
