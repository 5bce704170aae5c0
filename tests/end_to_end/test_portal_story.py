"""What people read about one mentor, and one history whoever races for him."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

from outbox import Relay
from outbox.saga import queries as saga_queries
from outbox.saga.story import lines_of, tell_story
from tests.end_to_end.test_portal import lapse
from tests.sagas.world import World

if TYPE_CHECKING:
    from uuid import UUID

    from tests.end_to_end.scene import Scene


async def story(scene: Scene, mentor: UUID) -> list[str]:
    """What `outbox saga show` prints of his newest instance."""
    async with scene.stage.relay.pool.connection() as conn:
        rows = await saga_queries.list_sagas(conn, name="visibility", limit=100)
        newest = max(row["id"] for row in rows if row["key"] == f"mentor:{mentor}")
        found = await tell_story(conn, scene.stage.app, newest)
    assert found is not None
    return list(lines_of(found))


async def test_the_paused_mentor_reads_as_his_story(scene: Scene) -> None:
    """A night with the portal away, told from the timeline alone, naming nobody."""
    mentor, _ = await lapse(scene)
    scene.portal.outage(status=503)
    await scene.night()
    scene.portal.heal()
    await scene.later(seconds=6)

    told = await story(scene, mentor)

    wanted = (
        "visibility.changed: sync_pending",
        "    reason: - -> certificate_lapsed",
        "    version: 0 -> 2",
        "    arms confirm for ",
        "report:visibility.changed:first_failure: first_failure",
        "    portal: - -> portal_http_503",
        "    says alert.open: tell people, dynamics_sync_pending (warning)",
        "        alerts, attempt 1: done",
        "report:visibility.changed:done: confirmed",
        "    portal: portal_http_503 -> applied, hidden",
        "    says alert.close: dynamics_sync_pending is over",
        "    cancels confirm",
    )
    places = [next(i for i, line in enumerate(told) if each in line) for each in wanted]
    assert places == sorted(places), "\n".join(told)
    assert ": ended " in told[0]
    assert not [line for line in told[1:] if str(mentor) in line]


async def test_two_racing_for_one_mentor_give_one_serial_history(scene: Scene) -> None:
    """P9, P10, PAU-9: the night, renewals and a person at once, two relays beside them."""
    hlf = await scene.world.organisation()
    mentor, person = await scene.known_mentor(hlf)
    async with AsyncExitStack() as stack:
        night, hand = [await stack.enter_async_context(World.on(scene.stage.dsn)) for _ in range(2)]
        other = await stack.enter_async_context(Relay(scene.stage.app, scene.stage.dsn).opened())

        async def lapse_and_renew() -> None:
            for round_ in range(8):
                expiry = night.day(hlf, 100 if round_ % 2 else -1)
                await night.conn.execute(
                    "update certifications set expiry_date = %s where mentor_id = %s",
                    [expiry, mentor],
                )
                await night.value(
                    "select changed from app.pause_lapsed_mentor(%s, %s)", mentor, uuid4()
                )

        async def pause_and_reactivate() -> None:
            for _ in range(8):
                await hand.value("select changed from app.pause_mentor(%s, %s)", mentor, person)
                await hand.value(
                    "select changed from app.reactivate_mentor(%s, %s)", mentor, person
                )

        writers = [
            asyncio.create_task(lapse_and_renew()),
            asyncio.create_task(pause_and_reactivate()),
        ]
        while not all(each.done() for each in writers):
            await asyncio.gather(scene.stage.relay.drain(), other.drain())
        await asyncio.gather(*writers)
        await asyncio.gather(scene.stage.relay.drain(), other.drain())

    history = await scene.world.rows(
        "select from_status, to_status, visibility_version as version from mentor_status_history"
        " where mentor_id = %s order by id",
        mentor,
    )
    assert all(
        earlier["to_status"] == later["from_status"] and earlier["version"] < later["version"]
        for earlier, later in pairwise(history)
    )
    announced = await scene.world.rows(
        "select (payload ->> 'version')::bigint as version from outbox.message"
        " where topic = 'visibility.changed' order by id"
    )
    newest, status = await scene.sync_of(mentor)
    assert [each["version"] for each in announced] == list(range(1, newest + 1))
    assert newest > 8
    await one_line_a_version(scene)
    row = scene.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, status) == (newest, "delivered")
    assert await scene.alerts() == []
    assert await scene.open_sagas() == 0


async def one_line_a_version(scene: Scene) -> None:
    """Each instance has every version of its timeline once, and only one lives at a time."""
    lines = await scene.world.rows(
        "select saga_id, array_agg(version order by version) as versions,"
        " min(at) as first_at, max(at) as last_at"
        " from outbox.saga_transition group by saga_id order by saga_id"
    )
    for each in lines:
        first = each["versions"][0]
        assert each["versions"] == list(range(first, first + len(each["versions"])))
    assert all(earlier["last_at"] <= later["first_at"] for earlier, later in pairwise(lines))
