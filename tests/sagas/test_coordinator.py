"""Manual retry and forced sync: who may, once a minute, and always on record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from handlers.portal.handler import PortalHandler
from outbox import App, VirtualClock
from sagas.coordinator import Forbidden, NoChannel, UnknownMentor, force_sync, retry_sync

if TYPE_CHECKING:
    from datetime import datetime

    from sagas.coordinator import Forced, Retried
    from sagas.run import Organisation
    from tests.sagas.world import World


async def force(world: World, mentor: UUID, actor: UUID) -> Forced:
    """Press *force sync* on a connection of its own."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return await force_sync(conn, mentor_id=mentor, actor_id=actor, now=world.now)


def at(now: datetime) -> App:
    """An application with the one handler that is retried."""
    app = App("desk", clock=VirtualClock(now))
    app.add(PortalHandler({}).handler())
    return app


async def retry(world: World, mentor: UUID, actor: UUID) -> Retried:
    """Press *retry* on a connection of its own."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return await retry_sync(
            conn, app=at(world.now), mentor_id=mentor, actor_id=actor, now=world.now
        )


async def audited(world: World) -> list[tuple[Any, ...]]:
    """Who did what, with which outcome, in order."""
    rows = await world.rows(
        "select action, actor_role, after ->> 'outcome' as outcome from audit_log order by id"
    )
    return [tuple(row.values()) for row in rows]


async def someone(  # noqa: C901, PLR0911 - a table, one return a row
    world: World, organisation: Organisation, who: str
) -> tuple[UUID, UUID]:
    """A mentor, and somebody who stands to him as `who` says."""
    chapter, elsewhere = [await world.chapter(organisation, name) for name in ("X", "Y")]
    other = await world.organisation("NHF")
    mentor = await world.mentor(organisation, chapter, days=100)
    match who:
        case "coordinator of the chapter":
            return mentor, await world.coordinator(organisation, chapter)
        case "assigned coordinator":
            actor = await world.coordinator(organisation, elsewhere)
            await world.assign(mentor, actor)
            return mentor, actor
        case "chapter admin":
            return mentor, await world.coordinator(organisation, chapter, role="chapter_admin")
        case "organisation admin":
            return mentor, await world.coordinator(organisation, role="org_admin")
        case "hlf admin":
            return mentor, await world.coordinator(organisation, role="hlf_admin")
        case "coordinator of another chapter":
            return mentor, await world.coordinator(organisation, elsewhere)
        case "former coordinator":
            return mentor, await world.coordinator(organisation, chapter, active=False)
        case "formerly assigned":
            actor = await world.coordinator(organisation, elsewhere)
            await world.assign(mentor, actor, active=False)
            return mentor, actor
        case "admin of another organisation":
            return mentor, await world.coordinator(other, role="org_admin")
        case "the mentor himself":
            return mentor, await world.coordinator(
                organisation, chapter, role="peer_mentor", user=mentor
            )
        case _:
            return mentor, uuid4()


@pytest.mark.parametrize(
    ("who", "role"),
    [
        ("coordinator of the chapter", "coordinator"),
        ("assigned coordinator", "coordinator"),
        ("chapter admin", "chapter_admin"),
        ("organisation admin", "org_admin"),
        ("hlf admin", "hlf_admin"),
        ("coordinator of another chapter", None),
        ("former coordinator", None),
        ("formerly assigned", None),
        ("admin of another organisation", None),
        ("the mentor himself", None),
        ("a stranger", None),
    ],
)
async def test_the_matrix_of_rights(world: World, who: str, role: str | None) -> None:
    """SYN-8, VIS-4, VIS-9: rights come from tables; a refusal is on record and changes nothing."""
    organisation = await world.organisation()
    mentor, actor = await someone(world, organisation, who)
    before = await world.value("select visibility_version from peer_mentors where id = %s", mentor)

    if role is None:
        with pytest.raises(Forbidden, match="allowed to a coordinator"):
            await force(world, mentor, actor)
        assert await audited(world) == [("sync.force", "none", "refused")]
    else:
        assert (await force(world, mentor, actor)).version == before + 1
        assert await audited(world) == [("sync.force", role, "done")]

    after = await world.value("select visibility_version from peer_mentors where id = %s", mentor)
    assert after - before == (role is not None)


async def test_clicks_within_a_minute_are_one(world: World) -> None:
    """SYN-8, SYN-9: also by two people; each click is on record."""
    organisation = await world.organisation()
    mentor, anna = await someone(world, organisation, "coordinator of the chapter")
    bo = await world.coordinator(organisation, role="org_admin")

    first = await force(world, mentor, anna)
    await world.at(world.now + timedelta(seconds=59))
    second = await force(world, mentor, bo)
    await world.at(world.now + timedelta(seconds=2))
    third = await force(world, mentor, bo)

    assert (second.version, second.repeated) == (first.version, True)
    assert (third.version, third.repeated) == (first.version + 1, False)
    assert await audited(world) == [
        ("sync.force", "coordinator", "done"),
        ("sync.force", "org_admin", "repeated"),
        ("sync.force", "org_admin", "done"),
    ]


async def test_a_retry_makes_a_waiting_delivery_due_with_its_ladder_restarted(
    world: World,
) -> None:
    """SYN-8: an hour's wait ends at the click."""
    await world.route("visibility.changed", "portal")
    organisation = await world.organisation()
    mentor, anna = await someone(world, organisation, "coordinator of the chapter")
    await force(world, mentor, anna)
    await world.conn.execute(
        "update outbox.delivery set due_at = %s, attempts = 7", [world.now + timedelta(hours=1)]
    )

    found = await retry(world, mentor, anna)

    assert found.made_due >= 1
    assert found.redriven == 0
    (row,) = await world.rows(
        "select due_at, attempts from outbox.delivery where handler = 'portal'"
        " order by position desc limit 1"
    )
    assert row["due_at"] is None or row["due_at"] <= world.now
    assert row["attempts"] == 0
    assert (await retry(world, mentor, anna)).repeated


async def test_a_retry_with_nothing_waiting_says_so(world: World) -> None:
    """The portal has confirmed: nothing is due, nothing is sent."""
    organisation = await world.organisation()
    mentor, anna = await someone(world, organisation, "coordinator of the chapter")
    found = await retry(world, mentor, anna)
    assert (found.made_due, found.redriven, found.repeated) == (0, 0, False)


async def test_without_a_portal_or_a_mentor_there_is_nothing_to_press(world: World) -> None:
    """Errors that say what to do, and no trace of a deed."""
    organisation = await world.organisation(visibility_channel="none")
    mentor, anna = await someone(world, organisation, "coordinator of the chapter")
    with pytest.raises(NoChannel, match="visibility_channel"):
        await force(world, mentor, anna)
    with pytest.raises(UnknownMentor):
        await retry(world, uuid4(), anna)
    assert await audited(world) == []
