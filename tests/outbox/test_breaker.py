"""A destination that keeps failing is left alone by every process, and tried by one at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    Attempt,
    Breaker,
    Done,
    Effect,
    Ladder,
    Order,
    Outcome,
    PermanentFailure,
    RetryPolicy,
    TransientFailure,
    queries_cluster,
)
from outbox.breaker import Tally
from outbox.errors import PolicyInvalid
from outbox.explain import explain
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, StockChanged, mailer

if TYPE_CHECKING:
    from outbox import DestinationChange, Handler
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

TERMS = Breaker(failures_min=3, window=MINUTE, probe_after=5 * SECOND, probe_after_max=15 * SECOND)
WAITS = """
select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
"""
SLOWLY = RetryPolicy(attempts_max=20, backoff=Ladder((600,)), jitter=0.0)


@dataclass
class Destination:
    """Somebody outside: it fails while `down`, and those orders that it always fails."""

    down: bool = True
    never: set[int] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)
    changes: list[DestinationChange] = field(default_factory=list)

    async def call(self, message: Any, attempt: Attempt, *conn: Any) -> Outcome:
        del attempt, conn
        number = getattr(message, "order_id", 0)
        self.calls.append(number)
        if self.down or number in self.never:
            raise TransientFailure("unavailable")
        return Done()

    async def changed(self, conn: Any, change: DestinationChange) -> None:
        del conn
        self.changes.append(change)

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]

    def handler(self, **terms: Any) -> Handler:
        named = {"retry": SLOWLY, "breaker": TERMS, "concurrency": 3} | terms
        return mailer(self.call, destination_changed=self.changed, **named)


async def orders(box: OutboxHarness, *numbers: int) -> list[int]:
    """Publish orders; their deliveries to the mailer."""
    for number in numbers:
        await box.publish(OrderPlaced(order_id=number))
    async with box.relay.pool.connection() as conn:
        cursor = await conn.execute("select id from outbox.delivery order by id")
        return [row[0] for row in await cursor.fetchall()]


async def broken(box: OutboxHarness) -> None:
    """Let three deliveries fail, which opens the breaker."""
    await orders(box, 1, 2, 3)
    await box.drain()


async def test_three_failed_deliveries_open_it_and_nobody_calls_any_more(
    opened: Opened, rows: Rows
) -> None:
    down = Destination()
    box = await opened(down.handler(), mailer(name="ledger"))
    other = await opened(down.handler(), mailer(name="ledger"))
    await broken(box)
    await orders(box, 4)
    for relay in (box, other):
        await relay.drain()

    assert sorted(down.calls) == [1, 2, 3]
    assert down.kinds == ["breaker_opened"]
    assert down.changes[0].until == box.clock.now() + 5 * SECOND
    assert (await box.census("ledger")).done == 4
    assert rows(
        "select breaker_reason from outbox.destination where breaker_opened_at is not null"
    ) == [("unavailable",)]


async def test_one_delivery_that_always_fails_opens_nothing(opened: Opened) -> None:
    down = Destination()
    box = await opened(down.handler(retry=RetryPolicy(backoff=Ladder((1,)), jitter=0.0)))
    await orders(box, 1)
    for _ in range(5):
        await box.drain()
        box.advance(SECOND)

    assert len(down.calls) == 5
    assert down.kinds == []


async def test_a_destination_that_mostly_works_is_not_cut_off(opened: Opened) -> None:
    shaky = Destination(down=False, never={3, 6, 9})
    box = await opened(shaky.handler())
    await orders(box, *range(1, 11))
    await box.drain()

    assert len(shaky.calls) == 10
    assert shaky.kinds == []


async def test_failures_of_two_processes_add_up(opened: Opened) -> None:
    down = Destination()
    box, other = await opened(down.handler()), await opened(down.handler())
    for relay, numbers in ((box, (1, 2)), (other, (3,))):
        await orders(relay, *numbers)
        await relay.drain()

    assert down.kinds == ["breaker_opened"]


async def test_failures_that_are_settled_at_once_add_up_too(opened: Opened, rows: Rows) -> None:
    """Neither settlement sees the other's failures; whoever commits last must count them."""
    down, noted, goes_on = Destination(), asyncio.Event(), asyncio.Event()

    async def slowly(conn: Any, settled: Any) -> None:
        del conn, settled
        noted.set()
        await goes_on.wait()

    box, other = await opened(down.handler(record=slowly)), await opened(down.handler())
    await orders(box, 1, 2)
    first = asyncio.create_task(box.run_once())
    await noted.wait()
    await orders(other, 3)
    second = asyncio.create_task(other.run_once())
    while not second.done() and not rows(WAITS):  # noqa: ASYNC110 - a state of the database
        await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(first, second)

    assert down.kinds == ["breaker_opened"]


async def test_who_knows_that_enough_has_failed_waits_for_nobody(
    opened: Opened, database: str
) -> None:
    """A destination of which a few calls always fail must not settle them one after the other."""
    box = await opened(Destination().handler())
    one = await psycopg.AsyncConnection.connect(database)
    two = await psycopg.AsyncConnection.connect(database)
    terms: dict[str, Any] = {
        "handler": "mailer", "breaker": TERMS, "failing": False, "reason": "unavailable",
        "now": box.clock.sql_now(),
    }  # fmt: skip
    async with one, two:
        await queries_cluster.note_failures(one, ids=[1, 2, 3], **terms)
        await one.commit()
        await queries_cluster.note_failures(one, ids=[4], **terms)
        async with asyncio.timeout(20):
            assert await queries_cluster.note_failures(two, ids=[5], **terms) is None


async def test_refusals_and_waits_a_handler_wants_are_no_failures(opened: Opened) -> None:
    """Whoever refuses a message has answered."""

    async def refuse(message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        raise PermanentFailure("no_such_order")

    down = Destination()
    box = await opened(mailer(refuse, breaker=TERMS, destination_changed=down.changed))
    await orders(box, 1, 2, 3, 4)
    await box.drain()

    assert (await box.census()).dead == 4
    assert down.kinds == []


async def test_a_probe_that_fails_doubles_the_wait_and_one_that_passes_closes(
    opened: Opened, rows: Rows
) -> None:
    down = Destination()
    box = await opened(down.handler())
    await broken(box)
    await orders(box, 4, 5, 6, 7)
    tried = []
    for wait in (4, 1, 9, 1, 14, 1):  # after 5, then 10, then 15 seconds, the most
        box.advance(wait * SECOND)
        await box.drain()
        tried.append(len(down.calls))
    down.down = False
    box.advance(15 * SECOND)
    await box.drain()

    assert tried == [3, 4, 4, 5, 5, 6]
    assert down.kinds == ["breaker_opened", "breaker_closed"]
    assert rows("select breaker_opened_at, breaker_probes from outbox.destination") == [(None, 0)]


async def test_what_had_failed_is_due_again_when_it_closes_and_not_all_at_once(
    opened: Opened, rows: Rows
) -> None:
    """Two a second, then twice as many: with a pace of two the third is due a second later."""
    down = Destination()
    box = await opened(down.handler(concurrency=2))
    await orders(box, 1, 2, 3, 4)
    await box.drain()
    await orders(box, 5)
    down.down = False
    box.advance(5 * SECOND)
    calls = len(down.calls)
    lane = box.lane("mailer")
    await lane.clean_up()
    assert await lane.run_once() == 1  # the probe, alone
    waits = rows(
        "select round(extract(epoch from due_at - %s), 2)::float from outbox.delivery order by id",
        box.clock.now(),
    )
    for _ in range(3):
        await box.drain()
        box.advance(SECOND)

    assert calls == 4
    assert down.kinds == ["breaker_opened", "breaker_closed"]
    assert waits == [(0.0,), (0.58,), (1.0,), (1.32,)]
    assert (await box.census()).done == 5
    assert rows("select * from outbox.destination_failure") == []


async def test_a_probe_is_the_one_with_the_fewest_attempts(opened: Opened) -> None:
    """A probe that fails spends an attempt, so no delivery pays for all of them."""
    down = Destination()
    box = await opened(down.handler(retry=RetryPolicy(backoff=Ladder((1,)), jitter=0.0)))
    await broken(box)
    for _ in range(4):
        box.advance(15 * SECOND)
        await box.drain()

    assert down.calls[3:] == [1, 2, 3, 1]


@pytest.mark.parametrize("order", [Order.KEYED, Order.NEWEST])
async def test_a_probe_keeps_the_order_of_its_key(order: Order, opened: Opened) -> None:
    down = Destination()
    box = await opened(down.handler(order=order, messages=(OrderPlaced, StockChanged)))
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number), key=f"order:{number}")
    await box.drain()
    for number in (4, 5):
        await box.publish(OrderPlaced(order_id=number), key="order:late")
    down.down = False
    box.advance(5 * SECOND)
    lane = box.lane("mailer")
    await lane.clean_up()
    await lane.run_once()

    assert down.calls[3:] == [4 if order is Order.KEYED else 5]
    assert down.kinds[-1] == "breaker_closed"


async def test_of_two_relays_that_want_the_probe_exactly_one_gets_it(
    opened: Opened, rows: Rows, database: str
) -> None:
    """The second waits for the first one's commit, and sees then that it is too late."""
    down = Destination()
    box = await opened(down.handler())
    await broken(box)
    box.advance(5 * SECOND)
    first, second = (box.lane("mailer").claims.terms(1) for _ in range(2))
    one = await psycopg.AsyncConnection.connect(database)
    two = await psycopg.AsyncConnection.connect(database, autocommit=True)
    async with one, two:
        assert await queries_cluster.take_breaker_probe(one, first)
        late = asyncio.create_task(queries_cluster.take_breaker_probe(two, second))
        blocked = "select unnest(pg_blocking_pids(%s))"
        while not rows(blocked, two.info.backend_pid):  # noqa: ASYNC110 - a state of the database
            await asyncio.sleep(0)
        await one.commit()
        assert not await late
    assert rows("select breaker_probe_token from outbox.destination") == [(first.token,)]


async def test_a_probe_whose_process_died_is_taken_by_the_next(opened: Opened) -> None:
    down = Destination()
    box, other = await opened(down.handler()), await opened(down.handler())
    await broken(box)
    await orders(box, 4)
    box.advance(5 * SECOND)
    async with box.relay.pool.connection() as conn:
        died = await box.lane("mailer").claims.claim_probe(conn)
    down.down = False
    await other.drain()
    too_early = len(down.calls)
    other.clock.set(box.advance(timedelta(seconds=30)))
    await orders(box, 5)
    await other.drain()

    assert died is not None
    assert too_early == 3
    assert down.kinds[-1] == "breaker_closed"


async def test_a_late_end_of_a_lost_probe_decides_nothing(opened: Opened, rows: Rows) -> None:
    """The guard is the probe's token in the row."""
    down = Destination()
    box = await opened(down.handler())
    await broken(box)
    box.advance(5 * SECOND)
    mine, lost = (box.lane("mailer").claims.terms(1) for _ in range(2))
    async with box.relay.pool.connection() as conn:
        assert await queries_cluster.take_breaker_probe(conn, mine)
        common = {"handler": "mailer", "now": box.clock.sql_now()}
        closed = await queries_cluster.close_breaker(conn, token=lost.token, pace=1, **common)

    assert not closed
    assert rows("select breaker_opened_at is not null from outbox.destination") == [(True,)]


async def test_explain_and_status_tell_since_when_why_and_what_next(opened: Opened) -> None:
    down = Destination()
    box = await opened(down.handler())
    await broken(box)
    (late,) = (await orders(box, 4))[-1:]
    async with box.relay.pool.connection() as conn:
        found = await explain(conn, box.app, late, now=box.clock.sql_now())

    assert found is not None
    assert found.state == "breaker open"
    assert "unavailable" in found.reason
    assert f"next probe at {box.clock.now() + 5 * SECOND:%Y-%m-%d %H:%M:%S}" in found.reason


async def test_a_database_handler_has_a_breaker_only_if_it_is_declared(opened: Opened) -> None:
    down = Destination()
    usual = mailer(down.call, effect=Effect.DATABASE)
    box = await opened(down.handler(effect=Effect.DATABASE))
    await broken(box)

    assert usual.breaks is None
    assert down.kinds == ["breaker_opened"]


async def test_unknown_outcomes_are_failures_too(opened: Opened) -> None:
    """A lost ambiguous call is the dearest kind: it stops after three, not three hundred."""

    async def lost(message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        raise ConnectionResetError

    down = Destination()
    box = await opened(
        mailer(
            lost,
            effect=Effect.AMBIGUOUS,
            breaker=TERMS,
            concurrency=3,
            destination_changed=down.changed,
        )
    )
    await orders(box, *range(10))
    await box.drain()

    assert (await box.census()).unknown == 3
    assert down.kinds == ["breaker_opened"]


def test_a_tally_forgets_what_is_older_than_two_windows() -> None:
    tally, at = Tally(MINUTE), datetime.now(UTC)
    tally.count(well=99, at=at)
    tally.count(failed=1, at=at + MINUTE)
    before = tally.failing(0.5)
    tally.count(failed=1, at=at + 2 * MINUTE)

    assert (before, tally.failing(0.5)) == (False, True)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"failures_min": 0}, "failures_min is 0, it must be at least 1"),
        ({"share": 0.0}, "share is 0.0, it must be above 0"),
        ({"window": timedelta(0)}, "window is 0:00:00, it must be above zero"),
        ({"probe_after": 5}, r"probe_after is 5 \(int\), it must be a timedelta above zero"),
        ({"probe_after_max": SECOND}, "probe_after_max is 0:00:01, .* which is 0:00:05"),
    ],
)
def test_terms_that_cannot_work_are_refused(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(PolicyInvalid, match=says):
        Breaker(**terms)


async def test_a_breaker_that_is_declared_no_more_is_closed(opened: Opened) -> None:
    """Nobody would probe it."""
    down = Destination()
    box = await opened(down.handler())
    await broken(box)
    await orders(box, 4)
    down.down = False
    later = await opened(down.handler(breaker=None))
    await later.drain()

    assert down.calls[3:] == [4]
    assert down.changes[-1].reason == "none_declared"
