"""Dead letters that people work with: groups, redrives with canary and pace, dismissals, audit."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Dead, Done, PermanentFailure, Redriven, Settled, Withdrawn, queries_letters
from outbox.errors import TermInvalid
from outbox.redrive import Redrive, Selection, advance_open, dismiss, redrive
from tests.outbox.shop import SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox import Attempt, Outcome
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

LETTERS = "select count(*) from outbox.dead_letter"


class Mended:
    """A handler that refuses everything, until somebody mends it."""

    def __init__(self) -> None:
        self.broken = True
        self.done: list[int] = []
        self.told: list[Settled] = []

    async def __call__(self, message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message
        if self.broken:
            raise PermanentFailure("refused")
        self.done.append(attempt.delivery_id)
        return Done()

    async def record(self, conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        self.told.extend(settled)


async def dead_orders(opened: Opened, count: int) -> tuple[OutboxHarness, Mended]:
    """So many dead letters of a handler that works again."""
    handler = Mended()
    box = await opened(mailer(handler, record=handler.record))
    for number in range(count):
        await box.publish(OrderPlaced(order_id=number))
    await box.drain()
    handler.broken = False
    handler.told.clear()
    return box, handler


async def raised(box: OutboxHarness, **terms: Any) -> Redrive:
    """Redrive everything as one person."""
    async with box.relay.pool.connection() as conn:
        return await redrive(conn, box.app, Selection(), actor="anna", **terms)


async def test_letters_that_failed_alike_are_one_group(opened: Opened, rows: Rows) -> None:
    """Alike: long numbers, ids and lines differ; short codes, functions and types do not."""

    async def refuse(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        return Dead(message.note)

    box = await opened(mailer(refuse))
    alike = ["order:123456", "order:99999", "order:0f8fad5b-d9cb-469f-a165-70867728950e"]
    for number, note in enumerate([*alike, "http:404", "http:503"]):
        await box.publish(OrderPlaced(order_id=number, note=note))
        await box.drain()
        box.advance(SECOND)
    async with box.relay.pool.connection() as conn:
        first, *others = await queries_letters.list_groups(conn, handler="mailer", limit=10)
        inside = await queries_letters.list_dead(
            conn, Selection(failure_group=first.failure_group), limit=10
        )

    latest_first = [row["delivery_id"] for row in inside]
    assert (first.letters, first.handler) == (3, "mailer")
    assert first.last_seen - first.first_seen == 2 * SECOND
    assert first.sample_delivery_id == latest_first[0] == max(latest_first)
    assert sorted(one.reason for one in others) == ["http:404", "http:503"]
    assert rows(LETTERS) == [(5,)]


async def test_a_group_outlives_a_release_and_the_database_counts_it(
    opened: Opened, rows: Rows
) -> None:
    """A line that moved is the same failure; nobody can store a letter in the wrong group."""
    await dead_orders(opened, 3)
    rows("update outbox.dead_letter set error_type = 'E', frame = 'a/b.py:7 f'")
    one = rows("select distinct failure_group from outbox.dead_letter")
    rows("update outbox.dead_letter set frame = 'a/b.py:70 f'")

    assert rows("select distinct failure_group from outbox.dead_letter") == one
    assert len(one) == 1
    with pytest.raises(psycopg.errors.GeneratedAlways):
        rows("update outbox.dead_letter set failure_group = 'mine'")


async def test_a_dry_run_counts_and_changes_nothing(opened: Opened, rows: Rows) -> None:
    box, handler = await dead_orders(opened, 3)
    acts = rows("select count(*) from outbox.operation")
    found = await raised(box, dry_run=True)

    assert (found.found, found.raised, found.operation_id) == (3, (), None)
    assert [(one.handler, one.ready) for one in found.counts] == [("mailer", 3)]
    assert rows(LETTERS) == [(3,)]
    assert rows("select count(*) from outbox.operation") == acts
    assert handler.told == []


async def test_who_redrove_and_why_is_kept_and_record_is_told(opened: Opened, rows: Rows) -> None:
    box, handler = await dead_orders(opened, 2)
    begun = await raised(box, why="the shelf is back")
    told = [(one.outcome, one.final) for one in handler.told]
    await box.drain()

    assert len(begun.raised) == 2
    assert told == [(Redriven("anna"), False)] * 2
    assert rows(
        "select actor, action, why, found from outbox.operation where id = %s", begun.operation_id
    ) == [("anna", "redrive", "the shelf is back", 2)]
    assert rows(
        "select distinct detail ->> 'actor', (detail ->> 'operation')::bigint from outbox.receipt"
        " where outcome = 'redriven'"
    ) == [("anna", begun.operation_id)]
    assert sorted(handler.done) == sorted(begun.raised)


async def test_the_audit_is_append_only(opened: Opened, rows: Rows) -> None:
    box, _ = await dead_orders(opened, 1)
    await raised(box)
    for change in ("update outbox.operation set actor = 'nobody'", "delete from outbox.operation"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            rows(change)


async def test_the_rest_follows_a_canary_that_was_done(opened: Opened, rows: Rows) -> None:
    """Relays carry it on: nobody waits at the command."""
    box, handler = await dead_orders(opened, 5)
    begun = await raised(box, canary=True)
    async with box.relay.pool.connection() as conn:
        too_early = await advance_open(conn, box.app)
    left = rows(LETTERS)
    await box.drain()

    assert (begun.found, len(begun.raised), too_early, left) == (5, 1, 0, [(4,)])
    assert handler.done[0] == begun.raised[0]
    assert len(handler.done) == 5
    assert rows(LETTERS) == [(0,)]
    assert rows("select ended_as, released from outbox.redrive") == [("released", 5)]


async def test_a_canary_that_dies_keeps_the_rest_dead(opened: Opened, rows: Rows) -> None:
    box, handler = await dead_orders(opened, 4)
    handler.broken = True
    await raised(box, canary=True)
    await box.drain()

    assert rows(LETTERS) == [(4,)]
    assert rows("select ended_as, released from outbox.redrive") == [("canary_failed", 1)]
    handler.broken = False
    assert len((await raised(box)).raised) == 4  # and they may be chosen again


async def test_a_canary_that_proves_nothing_is_followed_by_another(
    opened: Opened, rows: Rows
) -> None:
    box, handler = await dead_orders(opened, 3)
    (first,) = (await raised(box, canary=True)).raised
    rows(
        "with gone as (delete from outbox.delivery where id = %s returning *)"
        " insert into outbox.receipt"
        " (delivery_id, message_id, handler, attempt, outcome, settled_at)"
        " select id, message_id, handler, 0, 'superseded', now() from gone",
        first,
    )
    await box.drain()

    assert len(handler.done) == 2
    assert rows("select ended_as, canary_id <> %s from outbox.redrive", first) == [
        ("released", True)
    ]


async def test_a_pace_is_kept_by_due_dates(opened: Opened, rows: Rows) -> None:
    box, handler = await dead_orders(opened, 5)
    now = box.clock.now()
    await raised(box, pace=2)
    waits = [row[0] - now for row in rows("select due_at from outbox.delivery order by id")]
    await box.drain()

    assert waits == [timedelta(seconds=s) for s in (0, 0, 1, 1, 2)]
    assert len(handler.done) == 2
    with pytest.raises(TermInvalid, match="is 0"):
        await raised(box, pace=0)


async def test_what_is_under_a_redrive_is_left_to_it(opened: Opened) -> None:
    box, _ = await dead_orders(opened, 3)
    await raised(box, canary=True)
    second = await raised(box)

    assert (second.found, second.operation_id) == (0, None)
    assert [one.under_redrive for one in second.counts] == [2]


async def test_a_redrive_that_was_broken_off_is_carried_on(
    opened: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More letters than one step takes: the command ends after the first, the relay goes on."""
    monkeypatch.setattr("outbox.redrive.RAISED_MAX", 2)
    box, handler = await dead_orders(opened, 5)
    begun = await raised(box)
    left = rows(LETTERS)
    await box.drain()

    assert (begun.found, len(begun.raised), left) == (5, 2, [(3,)])
    assert len(handler.done) == 5
    assert rows("select ended_as, released from outbox.redrive") == [("released", 5)]


async def test_letters_of_other_programs_are_left_alone(opened: Opened, rows: Rows) -> None:
    """Nobody here could tell their tables."""
    box, _ = await dead_orders(opened, 2)
    rows(
        "update outbox.dead_letter set handler = 'theirs'"
        " where delivery_id = (select min(delivery_id) from outbox.dead_letter)"
    )
    begun = await raised(box)

    assert (begun.found, begun.strangers) == (1, ("theirs",))
    assert rows("select handler from outbox.dead_letter") == [("theirs",)]


async def test_nobody_can_act_on_letters(opened: Opened, rows: Rows) -> None:
    """Who leaves no name is refused in words, and nothing is done."""
    box, _ = await dead_orders(opened, 1)
    before, acts = rows("select count(*) from outbox.operation"), list[Any]([redrive, dismiss])
    async with box.relay.pool.connection() as conn:
        for act in acts:
            with pytest.raises(TermInvalid, match=r"^actor is ' '; say who acts"):
                await act(conn, box.app, Selection(), actor=" ", why="was a trial")

    assert rows(LETTERS) == [(1,)]
    assert rows("select count(*) from outbox.operation") == before


async def test_what_is_dismissed_is_closed_and_told(opened: Opened, rows: Rows) -> None:
    box, handler = await dead_orders(opened, 3)
    one = rows("select min(delivery_id) from outbox.dead_letter")[0][0]
    async with box.relay.pool.connection() as conn:
        done = await dismiss(
            conn, box.app, Selection(delivery_ids=(one,)), actor="anna", why="was a trial"
        )

    assert done.raised == (one,)
    assert [(told.delivery_id, told.outcome, told.final) for told in handler.told] == [
        (one, Withdrawn("dismissed"), True)
    ]
    assert rows(LETTERS) == [(2,)]
    assert rows("select outcome, reason from outbox.receipt where delivery_id = %s", one)[-1] == (
        "withdrawn", "dismissed"
    )  # fmt: skip
    assert rows("select action, why from outbox.operation where id = %s", done.operation_id) == [
        ("dismiss", "was a trial")
    ]


async def test_a_record_that_refuses_keeps_the_letters(opened: Opened, rows: Rows) -> None:
    """The application's tables and ours change together or not at all."""
    handler = Mended()
    refuses = False

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn, settled
        if refuses:
            raise ValueError

    box = await opened(mailer(handler, record=record))
    await box.publish(OrderPlaced(order_id=1))
    await box.drain()
    refuses = True
    with pytest.raises(ValueError):  # noqa: PT011 - the hook's own
        await raised(box)

    assert rows(LETTERS) == [(1,)]
    assert rows("select count(*) from outbox.redrive") == [(0,)]
