"""Coordinators hear of each pause and return nobody else tells, and of nothing that is over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from handlers.alerts import AlertHandler
from handlers.commands import AlertClose, AlertOpen, MentorStatusChanged
from handlers.in_app import InAppHandler
from outbox import App, Relay, VirtualClock, publish
from sagas.status_notices import StatusNotices
from tests.sagas.test_auto_pause import run_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from outbox import Message
    from tests.sagas.world import World


@asynccontextmanager
async def telling(world: World) -> AsyncIterator[Relay]:
    """A relay with all that stands between a change and its inbox rows, at the world's time."""
    app = App("test", clock=VirtualClock(world.now))
    app.add(StatusNotices().handler())
    app.add(InAppHandler().handler())
    app.add(AlertHandler().handler())
    async with Relay(app, world.dsn).opened() as relay:
        yield relay


async def told(world: World) -> list[tuple[Any, ...]]:
    """Who was told what, by inbox row."""
    rows = await world.rows(
        "select n.recipient_id, n.kind, n.mentor_id, i.reason from notifications as n"
        " join notification_items as i on i.notification_id = n.id order by n.created_at, n.kind"
    )
    return [tuple(row.values()) for row in rows]


async def pause(world: World, mentor: UUID, *, actor: UUID | None = None) -> None:
    """A pause by hand, with a reason in the actor's own words."""
    await world.conn.execute(
        "select app.pause_mentor(%s, %s, 'on leave, says Kari', %s)",
        [mentor, actor or uuid4(), world.now],
    )


async def reactivate(world: World, mentor: UUID) -> None:
    await world.conn.execute(
        "select app.reactivate_mentor(%s, %s, 'back', %s)", [mentor, uuid4(), world.now]
    )


async def test_a_pause_by_hand_and_its_end_are_told_to_the_coordinators(world: World) -> None:
    """PAU-10, PUSH-2, PUSH-3: both kinds, each with a code as reason and never the words."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    anna = await world.coordinator(organisation, chapter)
    mentor = await world.mentor(organisation, chapter, days=100)
    async with telling(world) as relay:
        await pause(world, mentor)
        await relay.drain()
        await reactivate(world, mentor)
        await relay.drain()

    assert set(await told(world)) == {
        (who, kind, mentor, "manual")
        for who in (anna, mentor)
        for kind in ("mentor_paused", "mentor_reactivated")
    }
    assert len(await world.requested("push.requested")) == 4


async def test_a_return_by_renewal_is_told(world: World) -> None:
    """PAU-9: event `mentor_reactivated`; the pause itself was told by the sweep, once."""
    organisation = await world.organisation()
    anna = await world.coordinator(organisation)
    mentor = await world.mentor(organisation, days=-1)
    async with telling(world) as relay:
        await run_sweep(world, organisation)
        await relay.drain()
        await world.certificate(organisation, mentor, days=300)
        await relay.drain()

    assert set(await told(world)) == {
        (anna, "mentor_paused", mentor, "certificate_lapsed"),
        (anna, "mentor_reactivated", mentor, "certificate_renewed"),
        (mentor, "mentor_reactivated", mentor, "certificate_renewed"),
    }


async def test_a_status_edited_in_place_is_told_as_well(world: World) -> None:
    """VIS-2, PAU-10: the app writes the column; the message is the same."""
    organisation = await world.organisation()
    anna = await world.coordinator(organisation)
    mentor = await world.mentor(organisation)
    async with telling(world) as relay:
        await world.conn.execute(
            "update peer_mentors set status = 'paused' where id = %s", [mentor]
        )
        await relay.drain()

    assert set(await told(world)) == {
        (who, "mentor_paused", mentor, "manual") for who in (anna, mentor)
    }


async def test_whoever_made_the_change_is_not_told_of_it(world: World) -> None:
    organisation = await world.organisation()
    anna, bo = [await world.coordinator(organisation) for _ in range(2)]
    mentor = await world.mentor(organisation)
    async with telling(world) as relay:
        await pause(world, mentor, actor=anna)
        await relay.drain()

    assert {row[0] for row in await told(world)} == {bo, mentor}


async def test_a_change_told_already_is_not_told_again(world: World) -> None:
    """Whoever makes a change may tell of it at once; two messages of one change tell it once."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    mentor = await world.mentor(organisation)
    async with telling(world) as relay:
        await pause(world, mentor)
        await relay.drain()
        (change,) = await world.rows("select id from mentor_status_history")
        again = MentorStatusChanged(mentor_id=mentor, change_id=change["id"])
        await say(world, relay, again, again)

    assert len(await told(world)) == 2


async def test_changes_told_together_are_one_digest_per_coordinator(world: World) -> None:
    """GRP-6: an import of renewals rings a coordinator's phone once."""
    organisation = await world.organisation()
    anna, bo = [await world.coordinator(organisation) for _ in range(2)]
    mentors = [await world.mentor(organisation, days=-1) for _ in range(3)]
    await world.assign(mentors[0], bo)
    await run_sweep(world, organisation)
    async with telling(world) as relay:
        await world.conn.execute("update certifications set expiry_date = expiry_date + 300")
        await relay.drain()

    groups = await world.rows(
        "select g.recipient_id, g.kind, count(*) as items from notification_groups as g"
        " join notification_items as i on i.group_id = g.id"
        " where i.kind = 'mentor_reactivated' group by g.id"
    )
    assert {row["recipient_id"]: (row["kind"], row["items"]) for row in groups} == {
        anna: ("coordinator_digest", 2),
        bo: ("coordinator_digest", 3),
        **dict.fromkeys(mentors, ("mentor_reactivated", 1)),
    }
    assert len(groups) == 5


async def test_what_is_over_or_old_is_told_to_nobody(world: World) -> None:
    """DSP-8 in spirit: a pause lifted before anybody heard, and one that is a day old."""
    organisation = await world.organisation()
    anna = await world.coordinator(organisation)
    short, old = [await world.mentor(organisation, days=100) for _ in range(2)]
    await pause(world, short)
    await reactivate(world, short)
    await pause(world, old)
    await world.at(world.now + timedelta(hours=24))
    async with telling(world) as relay:
        await relay.drain()
    assert await told(world) == []

    await pause(world, short)
    async with telling(world) as relay:
        await relay.drain()
    assert set(await told(world)) == {
        (who, "mentor_paused", short, "manual") for who in (anna, short)
    }


async def test_who_has_left_is_told_to_nobody(world: World) -> None:
    organisation = await world.organisation()
    await world.coordinator(organisation)
    mentor = await world.mentor(organisation)
    async with telling(world) as relay:
        await world.conn.execute(
            "select app.offboard_mentor(%s, %s, 'left', %s)", [mentor, uuid4(), world.now]
        )
        await relay.drain()

    assert await told(world) == []


def alert(mentor: UUID, severity: str) -> AlertOpen:
    return AlertOpen(
        type="dynamics_sync_pending",
        organisation_id=None,
        mentor_id=mentor,
        subject=f"mentor:{mentor}",
        severity=severity,
    )


async def test_a_sync_unconfirmed_for_a_day_reaches_the_administrators_once_a_day(
    world: World,
) -> None:
    """ALR-3, PUSH-2: `sync_alert` to the organisation's administrators, however many are stuck."""
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")
    await world.coordinator(organisation)
    first, second, third = [await world.mentor(organisation) for _ in range(3)]
    async with telling(world) as relay:
        await say(world, relay, alert(first, "warning"), alert(second, "warning"))
        assert await told(world) == []

        await say(world, relay, alert(first, "critical"), alert(second, "critical"))
        await say(world, relay, alert(third, "warning"), alert(third, "critical"))

    rows = await told(world)
    assert {row[:2] for row in rows} == {(admin, "sync_alert")}
    assert {row[2] for row in rows} <= {first, second}
    assert len(await world.requested("push.requested")) == 1


async def test_an_alert_closed_in_time_reaches_nobody(world: World) -> None:
    organisation = await world.organisation()
    await world.coordinator(organisation, role="org_admin")
    mentor = await world.mentor(organisation)
    close = AlertClose(
        type="dynamics_sync_pending",
        organisation_id=organisation.id,
        subject=f"mentor:{mentor}",
    )
    app = App("test", clock=VirtualClock(world.now))
    app.add(AlertHandler().handler())
    async with Relay(app, world.dsn).opened() as relay:
        await say(world, relay, alert(mentor, "warning"), alert(mentor, "critical"), close)
    async with telling(world) as relay:
        await relay.drain()

    assert await told(world) == []
    (parked,) = await world.rows(
        "select count(*) as n from outbox.message where topic = 'alert.sync_unconfirmed'"
    )
    assert parked["n"] == 1


async def say(world: World, relay: Relay, *messages: Message) -> None:
    """Publish messages about one matter in their order, and work."""
    with psycopg.connect(world.dsn) as conn:
        for message in messages:
            publish(conn, message, key="alert:test")
    await relay.drain()
