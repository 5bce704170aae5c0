"""Raising our version above the portal's: bounded, once a day, under the mentor's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.alerts import AlertHandler
from handlers.commands import VisibilityRaise
from handlers.mentor_state import RAISE_MAX, Hold, MentorStateHandler, MovedOn, Raise, decide
from handlers.mentor_state.raising import Standing
from outbox import App, Relay, VirtualClock, publish
from tests.handlers.rows import NOW, bump, mentor, organisation, pause, published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TODAY = date(2026, 3, 2)
versions = st.integers(0, 2**40)


@given(versions, versions, st.sampled_from([None, TODAY - timedelta(days=1), TODAY]))
def test_a_raise_is_bounded_and_ends_above_both(
    ours: int, returned: int, raised_on: date | None
) -> None:
    decision = decide(Standing(ours, raised_on, TODAY), returned=returned)

    match decision:
        case Raise(at_least):
            raised = max(ours, at_least) + 1
            assert raised > returned
            assert raised - ours <= RAISE_MAX
            assert raised_on != TODAY
        case MovedOn():
            assert returned < ours
        case Hold("raised_today"):
            assert raised_on == TODAY
        case Hold(reason):
            assert reason == "too_far_ahead"
            assert returned - ours >= RAISE_MAX


@dataclass
class Desk:
    """One database and the relay that carries out what is asked of a mentor's state."""

    conn: psycopg.Connection[Any]
    relay: Relay
    clock: VirtualClock
    mentor: UUID

    async def ask(self, returned: int, *, mentor_id: UUID | None = None, times: int = 1) -> None:
        with self.conn.transaction():
            for _ in range(times):
                publish(
                    self.conn,
                    VisibilityRaise(
                        mentor_id=mentor_id or self.mentor,
                        returned_version=returned,
                        reason="ahead",
                    ),
                )
        await self.relay.drain()

    def version(self) -> int:
        row = self.conn.execute(
            "select visibility_version from public.peer_mentors where id = %s", (self.mentor,)
        ).fetchone()
        assert row is not None
        return int(row[0])

    def alerts(self) -> list[tuple[str, str, UUID]]:
        return self.conn.execute(
            "select type, severity, mentor_id from public.dashboard_alerts"
        ).fetchall()

    def last(self) -> tuple[str, str | None, Any]:
        row = self.conn.execute(
            "select outcome, reason, detail from outbox.receipt"
            " where handler = 'mentor_state' order by id desc limit 1"
        ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def desk(database: str, conn: psycopg.Connection[Any]) -> AsyncIterator[Desk]:
    clock = VirtualClock(NOW)
    app = App("test", clock=clock)
    app.add(MentorStateHandler().handler())
    app.add(AlertHandler().handler())
    relay = Relay(app, database)
    made = mentor(conn, organisation(conn))
    assert pause(conn, made) == 1
    async with relay.opened():
        yield Desk(conn, relay, clock, made)


async def test_our_version_goes_above_the_portals_and_is_published(desk: Desk) -> None:
    await desk.ask(40)

    assert desk.version() == 41
    assert published(desk.conn, "visibility.changed")[-1] == {
        "mentor_id": str(desk.mentor),
        "version": 41,
        "reason": "reconcile",
    }
    assert desk.last()[2] == {"answer": "raised", "version": 41}
    assert desk.alerts() == []  # the saga that asked opens its own


async def test_a_conflict_on_our_own_version_is_raised_by_one(desk: Desk) -> None:
    await desk.ask(1)

    assert desk.version() == 2


async def test_asked_twice_it_raises_once(desk: Desk) -> None:
    await desk.ask(40, times=2)

    assert desk.version() == 41
    assert desk.last()[:2] == ("suppressed", "moved_on")


async def test_what_we_have_passed_meanwhile_is_left_alone(desk: Desk) -> None:
    bump(desk.conn, desk.mentor, at_least=50)

    await desk.ask(40)

    assert desk.version() == 51


async def test_a_second_raise_of_the_day_is_held_and_the_next_day_a_raise(desk: Desk) -> None:
    """Two systems that both believe to be the real one must not leapfrog for ever."""
    await desk.ask(40)
    await desk.ask(60)

    assert desk.version() == 41
    assert desk.last()[2] == {"answer": "held", "cause": "raised_today", "version": 41}
    assert desk.alerts() == []  # as above

    desk.clock.advance(timedelta(days=1))
    await desk.ask(60)
    assert desk.version() == 61


async def test_the_day_is_that_of_the_organisation(desk: Desk) -> None:
    """At 22:30 UTC a new day has begun in Tokyo already."""
    desk.conn.execute("update public.organisations set timezone = 'Asia/Tokyo'")
    desk.clock.set(NOW.replace(hour=14, minute=30))
    await desk.ask(40)
    desk.clock.set(NOW.replace(hour=15, minute=30))
    await desk.ask(60)

    assert desk.version() == 61


@pytest.mark.parametrize(("returned", "version"), [(RAISE_MAX, 10_001), (RAISE_MAX + 1, 1)])
async def test_a_version_too_far_ahead_is_held(desk: Desk, returned: int, version: int) -> None:
    await desk.ask(returned)

    assert desk.version() == version
    assert desk.last()[2]["answer"] == ("held" if version == 1 else "raised")


async def test_nobody_and_nowhere_to_send_is_suppressed(desk: Desk) -> None:
    await desk.ask(40, mentor_id=uuid4())
    assert desk.last()[1] == "mentor_gone"

    desk.conn.execute("update public.organisations set visibility_channel = 'none'")
    await desk.ask(40)
    assert desk.last()[1] == "no_channel"
    assert desk.version() == 1
