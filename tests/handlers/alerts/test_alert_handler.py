"""The dashboard's alerts: one open per subject, escalated in place, closed in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from handlers.alerts import KINDS, AlertHandler
from handlers.commands import AlertClose, AlertOpen
from outbox import App, Message, Relay, VirtualClock, publish
from tests.handlers.rows import NOW, mentor, organisation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

SUBJECT = "mentor:1"


@dataclass
class Board:
    """The alerts of one database, and the relay that writes them."""

    conn: psycopg.Connection[Any]
    relay: Relay
    clock: VirtualClock
    organisation: UUID

    async def tell(self, *messages: Message, key: str = f"alert:{SUBJECT}") -> None:
        """Publish in order, in one transaction, and work."""
        with self.conn.transaction():
            for message in messages:
                publish(self.conn, message, key=key)
        await self.relay.drain()

    def open(
        self,
        *,
        type_: str = "dynamics_sync_pending",
        severity: str = "warning",
        everywhere: bool = False,
    ) -> AlertOpen:
        return AlertOpen(
            type=type_,
            organisation_id=None if everywhere else self.organisation,
            mentor_id=None,
            subject=SUBJECT,
            severity=severity,
        )

    def close(
        self, *, type_: str = "dynamics_sync_pending", everywhere: bool = False
    ) -> AlertClose:
        return AlertClose(
            type=type_,
            organisation_id=None if everywhere else self.organisation,
            subject=SUBJECT,
        )

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        query = f"select {columns} from public.dashboard_alerts order by opened_at"
        return self.conn.execute(query.encode()).fetchall()


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def board(database: str, conn: psycopg.Connection[Any]) -> AsyncIterator[Board]:
    clock = VirtualClock(NOW)
    app = App("test", clock=clock)
    app.add(AlertHandler().handler())
    relay = Relay(app, database)
    async with relay.opened():
        yield Board(conn, relay, clock, organisation(conn))


def test_the_text_of_a_pending_sync_is_the_agreed_one() -> None:
    """ALR-1 fixes it to the letter; the dash is an em dash."""
    text = "Dynamics sync pending \N{EM DASH} mentor may still be visible on portal"

    assert KINDS["dynamics_sync_pending"].texts() == {"nb": text, "en": text}


def test_every_type_the_table_takes_has_a_text(conn: psycopg.Connection[Any]) -> None:
    row = conn.execute(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conname = 'dashboard_alerts_type_is_known'"
    ).fetchone()
    assert row is not None

    assert all(f"'{type_}'" in row[0] for type_ in KINDS)
    assert row[0].count("'") == 2 * len(KINDS)


async def test_an_alert_opens_once_and_closes_once(board: Board) -> None:
    await board.tell(board.open(), board.open())
    assert board.rows("text, severity, resolved_at") == [
        (KINDS["dynamics_sync_pending"].text("nb"), "warning", None)
    ]

    board.clock.advance(timedelta(minutes=3))
    await board.tell(board.close(), board.close())

    assert board.rows("opened_at, resolved_at") == [(NOW, NOW + timedelta(minutes=3))]


async def test_an_open_and_its_close_keep_their_order(board: Board) -> None:
    await board.tell(board.open(), board.close())

    assert board.rows("resolved_at is null") == [(False,)]


async def test_an_alert_that_comes_back_is_a_new_row(board: Board) -> None:
    await board.tell(board.open(), board.close())
    board.clock.advance(timedelta(hours=1))
    await board.tell(board.open())

    assert board.rows("resolved_at is null") == [(False,), (True,)]


async def test_more_severe_escalates_and_less_severe_changes_nothing(board: Board) -> None:
    await board.tell(board.open())
    board.clock.advance(timedelta(hours=24))
    await board.tell(board.open(severity="critical"))
    board.clock.advance(timedelta(hours=1))
    await board.tell(board.open(severity="info"), board.open(severity="critical"))

    assert board.rows("severity, opened_at, escalated_at") == [
        ("critical", NOW, NOW + timedelta(hours=24))
    ]


async def test_an_alert_of_no_organisation_is_one_too(board: Board) -> None:
    """Credentials belong to nobody's organisation; null equals null here."""
    alert = board.open(type_="credential_failure", everywhere=True)

    await board.tell(alert, alert)
    assert board.rows("organisation_id, resolved_at") == [(None, None)]
    await board.tell(board.close(type_="credential_failure", everywhere=True))

    assert board.rows("resolved_at is null") == [(False,)]


async def test_a_review_is_due_a_day_later(board: Board) -> None:
    await board.tell(board.open(type_="duplicate_log_entries"), board.open())

    assert dict(board.rows("type, due_at")) == {
        "duplicate_log_entries": NOW + timedelta(hours=24),
        "dynamics_sync_pending": None,
    }


async def test_an_alert_goes_with_its_mentor_and_never_blocks_him(board: Board) -> None:
    made = mentor(board.conn, board.organisation)
    alert = board.open().model_copy(update={"mentor_id": made})
    await board.tell(alert)

    board.conn.execute("delete from public.peer_mentors where id = %s", (made,))
    await board.tell(alert)

    assert board.rows("mentor_id") == []
    reasons = board.conn.execute("select reason from outbox.receipt order by id").fetchall()
    assert reasons[-1] == ("subject_gone",)


async def test_an_unknown_type_or_severity_is_a_dead_letter(board: Board) -> None:
    await board.tell(board.open(type_="no_such_type"))
    await board.tell(board.open(severity="fatal"), key="another")

    assert board.rows("type") == []
    assert set(board.conn.execute("select reason from outbox.dead_letter").fetchall()) == {
        ("alert_type_unknown",),
        ("severity_unknown",),
    }


async def test_a_close_waits_behind_an_open_that_was_given_up(board: Board) -> None:
    """P10: redriven after its close, the alert would stay open without a cause."""
    await board.tell(board.open(type_="no_such_type"), board.close())

    waiting = board.conn.execute("select count(*) from outbox.delivery").fetchone()
    assert waiting == (1,)
    assert board.conn.execute("select outcome from outbox.receipt").fetchall() == [("dead",)]
