"""The lapse sweep: a pause, its message for the portal and its notices are one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from handlers.texts import Audience
from sagas.auto_pause import sweep
from sagas.results import SweepResult

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.sagas.world import World


async def run_sweep(world: World, organisation: Organisation) -> SweepResult:
    """One committed sweep."""
    async with world.transaction() as conn:
        return await sweep(conn, organisation, world.run())


async def test_a_lapsed_mentor_is_paused_and_his_coordinator_told_once(world: World) -> None:
    """PAU-1 to PAU-4, T1.8: the second sweep changes nothing and tells nobody."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    anna = await world.coordinator(organisation, chapter)
    mentor = await world.mentor(organisation, chapter, days=0)
    await world.mentor(organisation, chapter, days=1)
    await world.pass_days(1)

    first = await run_sweep(world, organisation)
    again = await run_sweep(world, organisation)

    assert first == SweepResult(paused=1, groups=1, merged=1)
    assert again == SweepResult()
    (group,) = await world.rows("select id, kind, recipient_id from notification_groups")
    assert (group["kind"], group["recipient_id"]) == ("mentor_paused", anna)
    assert await world.requested() == [group["id"]]
    (item,) = await world.rows("select mentor_id, kind, reason from notification_items")
    assert tuple(item.values()) == (mentor, "mentor_paused", "certificate_lapsed")
    (row,) = await world.rows(
        "select status, pause_source, suppression_status from peer_mentors where id = %s", mentor
    )
    assert tuple(row.values()) == ("paused", "certificate_expired", "certificate_expired")


async def test_several_mentors_of_one_coordinator_are_one_digest(world: World) -> None:
    """GRP-6."""
    organisation = await world.organisation()
    x, y = [await world.chapter(organisation, name) for name in ("X", "Y")]
    anna = await world.coordinator(organisation, x, y)
    bo = await world.coordinator(organisation, y)
    await world.mentor(organisation, x, days=-1)
    await world.mentor(organisation, y, days=-1)

    await run_sweep(world, organisation)

    groups = await world.rows("select recipient_id, kind from notification_groups")
    assert {(group["recipient_id"], group["kind"]) for group in groups} == {
        (anna, "coordinator_digest"),
        (bo, "mentor_paused"),
    }


async def test_pause_notice_and_lapsed_reminder_are_one_message_for_coordinators(
    world: World,
) -> None:
    """PAU-12: the key is merged; the mentor still gets his own lapsed notice."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.mentor(organisation, days=-1)
    await run_sweep(world, organisation)

    coordinators = await world.remind(organisation, Audience.COORDINATOR)
    mentors = await world.remind(organisation, Audience.MENTOR)

    assert (coordinators.created, coordinators.skipped) == (0, 1)
    assert (mentors.created, mentors.queued) == (1, 1)
    statuses = await world.rows("select audience, status from cert_expiry_reminders order by 1")
    assert [tuple(row.values()) for row in statuses] == [
        ("coordinator", "merged"),
        ("mentor", "claimed"),
    ]


async def test_a_pause_nobody_could_be_told_of_is_told_by_the_night(world: World) -> None:
    """PAU-12, GRP-4: what was not said is not taken for said; who was told hears it once."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    anna = await world.coordinator(organisation, chapter)
    silent = await world.mentor(organisation, chapter, days=-1)
    await world.mentor(organisation, chapter, days=-1)
    await world.conn.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" if new.mentor_id = '{silent}' then raise exception 'refused'; end if;"
        " return new; end $$;"
        " create trigger refuse before insert on notification_items for each row"
        " execute function refuse()".encode()
    )
    swept = await run_sweep(world, organisation)
    assert (swept.paused, swept.merged, swept.failed) == (2, 1, 1)
    await world.conn.execute("drop trigger refuse on notification_items")

    await world.remind(organisation)

    told = await world.rows(
        "select recipient_id, mentor_id from cert_notification_log where audience = 'coordinator'"
    )
    assert told == [{"recipient_id": anna, "mentor_id": silent}]


async def test_two_sweeps_and_the_reminders_at_once_tell_once(world: World) -> None:
    """T1.8 and the opposite lock orders: everybody ends, nobody is told twice."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    for _ in range(20):
        await world.mentor(organisation, days=-1)

    first, second, _ = await asyncio.gather(
        run_sweep(world, organisation),
        run_sweep(world, organisation),
        world.remind(organisation),
    )

    assert first.paused + second.paused == 20
    told = "select count(*) from cert_expiry_reminders where audience = 'coordinator'"
    assert await world.value(told) == 20
    assert await world.value("select count(*) from mentor_status_history") == 20


async def test_a_sweep_that_fails_pauses_nobody(world: World) -> None:
    """PAU-2: one transaction; what could not be told was not done."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.mentor(organisation, days=-1)

    conn = await psycopg.AsyncConnection.connect(world.dsn)
    await sweep(conn, organisation, world.run())
    await conn.close()  # without a commit: the process died

    assert await world.value("select count(*) from peer_mentors where status = 'paused'") == 0
    assert await world.requested() == []


@pytest.mark.parametrize(("channel", "events"), [("webhook", 1), ("none", 0)])
async def test_only_an_organisation_with_a_channel_tells_a_portal(
    world: World, channel: str, events: int
) -> None:
    """PAU-11: the pause is the same; an organisation of its own publishes no version."""
    organisation = await world.organisation(visibility_channel=channel)
    mentor = await world.mentor(organisation, days=0)
    await world.pass_days(1)
    before = await world.value(
        "select count(*) from outbox.message where topic = 'visibility.changed'"
    )

    found = await run_sweep(world, organisation)

    assert found == SweepResult(paused=1, merged=1, missing_coordinator=1)
    after = await world.value(
        "select count(*) from outbox.message where topic = 'visibility.changed'"
    )
    assert after - before == events
    assert await world.value("select status from peer_mentors where id = %s", mentor) == "paused"
