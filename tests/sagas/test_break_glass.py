"""SYN-14: whom a person sends first, and that one who fails leaves the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from sagas import break_glass
from sagas.break_glass import Person

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.run import Organisation
    from tests.sagas.world import World


@dataclass(frozen=True)
class Word:
    """What became of one mentor."""

    mentor_id: UUID
    answer: str
    hint: str | None = None


@dataclass
class Hands:
    """Takes what it is given and remembers the order; nobody is called."""

    pages: list[list[UUID]] = field(default_factory=list)

    async def check(self) -> None:
        """All is well."""

    async def send(self, conn: AsyncConnection[Any], mentors: Sequence[UUID]) -> list[Word]:
        """Everybody is applied."""
        del conn
        self.pages.append(list(mentors))
        return [Word(mentor, "applied") for mentor in mentors]


async def standing(
    world: World,
    organisation: Organisation,
    *,
    visible: bool,
    hours: int,
    acked: int,
    published: bool | None = None,
) -> UUID:
    """A mentor at version 5 whose state changed so many hours ago, as far as the portal said."""
    mentor = await world.mentor(organisation, days=100)
    await world.conn.execute(
        "update peer_mentors set visibility_version = 5, visibility_changed_at = %s,"
        " suppression_status = %s where id = %s",
        [world.now - timedelta(hours=hours), "none" if visible else "manual", mentor],
    )
    await world.conn.execute(
        "insert into portal_sync_state (mentor_id, acked_version, acked_visible,"
        " observed_published) values (%s, %s, %s, %s)",
        [mentor, acked, visible if acked == 5 else not visible, published],
    )
    return mentor


async def test_the_oldest_danger_comes_first_and_the_confirmed_last(world: World) -> None:
    """SYN-14, RCN-8: hidden and unconfirmed, or seen there; then unconfirmed; then all."""
    hlf = await world.organisation()
    confirmed = await standing(world, hlf, visible=True, hours=90, acked=5)
    missing = await standing(world, hlf, visible=True, hours=80, acked=4)
    newer = await standing(world, hlf, visible=False, hours=1, acked=4)
    older = await standing(world, hlf, visible=False, hours=9, acked=4)
    seen = await standing(world, hlf, visible=False, hours=5, acked=5, published=True)
    hidden = await standing(world, hlf, visible=False, hours=99, acked=5, published=False)
    none = await world.organisation("NHF", visibility_channel="none")
    await world.mentor(none, days=-1)
    admin = await world.coordinator(hlf, role="hlf_admin")
    person, hands = Person(admin, "drill", world.now), Hands()

    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        chosen = await break_glass.choose(conn, person, mentors=None, organisation=None)
        report = await break_glass.send(conn, person, chosen, hands)

    order = [older, seen, newer, missing, hidden, confirmed]
    assert [one.mentor_id for one in chosen] == order
    assert [one.danger for one in chosen] == [True] * 3 + [False] * 3
    assert hands.pages == [order]
    assert (report.totals, report.ok) == ({"applied": 6}, True)
    told = await world.rows(
        "select mentor_id from audit_log where mentor_id is not null order by id"
    )
    assert [row["mentor_id"] for row in told] == order


async def test_one_organisation_or_some_mentors_may_be_chosen(world: World) -> None:
    hlf, other = await world.organisation(), await world.organisation("LHL")
    mine = await standing(world, hlf, visible=True, hours=1, acked=5)
    theirs = await standing(world, other, visible=True, hours=1, acked=5)
    admin = await world.coordinator(hlf, role="hlf_admin")
    person = Person(admin, "drill", world.now)

    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        found = [
            await break_glass.choose(conn, person, mentors=mentors, organisation=code)
            for mentors, code in ((None, "LHL"), ([mine], None), ([mine, theirs], "HLF"))
        ]

    assert [[one.mentor_id for one in each] for each in found] == [[theirs], [mine], [mine]]
