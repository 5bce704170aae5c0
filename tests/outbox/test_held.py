"""Held batches: claim, effect and settlement of a backlog in one transaction (P2, P3, P4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    Attempt,
    Done,
    Effect,
    Outcome,
    Publication,
    Retry,
    Suppressed,
    queries,
)
from outbox.errors import HandlerInvalid
from outbox.held import HeldBatch
from tests.outbox.shop import OrderPlaced, count_order, mailer, nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

COUNTS = "select delivery_id, count(*) from effect group by 1 having count(*) <> 1"
LEASED = "select count(*) from outbox.lease"


async def filled(box: OutboxHarness, count: int) -> None:
    """A backlog, with its first batch already worked off, so that the next one is held."""
    await box.publish_many(*(Publication(message=OrderPlaced(order_id=n)) for n in range(count)))
    assert await box.lane("mailer").run_once() == 3
    assert box.lane("mailer").may_hold


def ledger(call: Any = count_order, **terms: Any) -> Any:
    return mailer(call, effect=Effect.DATABASE, batch_max=3, **terms)


async def test_a_backlog_is_worked_off_once_and_leaves_no_lease(opened: Opened, rows: Rows) -> None:
    box = await opened(ledger())
    await filled(box, 11)
    while await box.lane("mailer").run_once():
        pass

    assert rows("select count(*) from effect") == [(11,)]
    assert rows(COUNTS) == []
    assert rows(LEASED) == [(0,)]
    assert (await box.census()).done == 11


@pytest.mark.parametrize(
    ("statement", "by_age", "locked"),
    [
        ("CLAIM", False, 4),
        ("CLAIM_HELD", False, 4),
        ("CLAIM_RANKED", False, 4),
        ("CLAIM_RANKED", True, 8),  # of the ranked and of the others as many, to find the oldest
    ],
)
async def test_a_claim_locks_no_more_than_it_takes(
    *, statement: str, by_age: bool, locked: int, opened: Opened, database: str, rows: Rows
) -> None:
    """Retries and new ones alike, though the claim is planned for a thousand."""
    box = await opened(ledger())
    for priority in (-1, 0, 1):
        await box.publish_many(
            *(Publication(message=OrderPlaced(order_id=1), priority=priority) for _ in range(10))
        )
    rows("update outbox.delivery set due_at = now(), last_reason = 'busy' where id % 3 = 0")
    more: dict[str, Any] = {"after": 0, "keyless": False, "by_age": by_age}
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        terms = box.lane("mailer").claims.terms(4).params(**more)
        taken = first.execute(getattr(queries, statement), terms).fetchall()
        free = second.execute(
            "select count(*) from (select from outbox.delivery for update skip locked) as f"
        ).fetchone()

    assert len(taken) == 4
    assert free == (30 - locked,)


async def test_a_claim_walks_over_no_notes_of_batches_that_are_done(
    opened: Opened, database: str, rows: Rows
) -> None:
    """A snapshot somebody holds keeps their dead rows: each claim would walk over all of them."""
    box = await opened(ledger())
    with psycopg.connect(database) as old, psycopg.connect(database) as conn:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("select count(*) from outbox.lease")
        await filled(box, 60)
        while await box.lane("mailer").run_once():
            pass
        [(done,)] = rows("select max(delivery_id) from outbox.receipt")
        await box.publish_many(
            *(Publication(message=OrderPlaced(order_id=60 + n)) for n in range(3))
        )
        conn.execute("set local enable_seqscan = off")
        terms = box.lane("mailer").claims.terms(3).params(after=done)
        claimed = conn.execute(queries.CLAIM_HELD, terms).fetchall()
        walked = conn.execute(
            "select sum(pg_stat_get_xact_tuples_returned(indexrelid)) from pg_index"
            " where indrelid = 'outbox.lease'::regclass"
        ).fetchone()

    assert len(claimed) == 3
    assert walked == (0,)


async def test_a_stalled_worker_keeps_its_row_locks_no_longer_than_a_lease(opened: Opened) -> None:
    """A process that is stopped, or cut off unnoticed, ends nothing: the server must."""
    box = await opened(ledger(timeout=timedelta(seconds=50)))
    async with box.relay.pool.connection() as conn:
        cursor = await conn.execute("show idle_in_transaction_session_timeout")
        found = await cursor.fetchone()

    assert found == ("1min",)


async def test_an_outcome_with_a_receipt_is_settled_in_the_same_transaction(
    opened: Opened, rows: Rows
) -> None:
    seen: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del attempt, conn
        seen.append(message.order_id)
        return Suppressed("odd") if message.order_id % 2 else Done({"number": message.order_id})

    box = await opened(ledger(call))
    await filled(box, 6)
    await box.lane("mailer").run_once()

    assert seen == list(range(6))
    assert rows("select count(*), count(detail), count(reason) from outbox.receipt") == [(6, 3, 3)]
    assert rows(LEASED) == [(0,)]


async def test_one_that_fails_costs_its_neighbours_nothing(opened: Opened, rows: Rows) -> None:
    """The batch is rolled back and each is run alone; no effect is kept twice (P4)."""

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        await count_order(message, attempt, conn)
        return Retry(after=timedelta(minutes=1)) if message.order_id == 4 else Done()

    box = await opened(ledger(call))
    await filled(box, 6)
    await box.lane("mailer").run_once()

    assert rows("select count(*) from effect") == [(5,)]
    assert rows(COUNTS) == []
    assert rows("select count(*) from outbox.delivery where lease_token is not null") == [(0,)]
    assert (await box.census()).pending == 1


async def test_nobody_takes_what_a_batch_holds(opened: Opened) -> None:
    box = await opened(ledger())
    await filled(box, 6)
    batch = await HeldBatch.claim(box.lane("mailer"), 100)

    assert batch is not None
    assert await box.claim("mailer") == []
    await batch.run()
    assert (await box.census()).done == 6


async def test_what_a_dead_worker_had_locked_is_claimed_alone(opened: Opened, rows: Rows) -> None:
    """Its locks are gone with it; the note of its batch keeps neighbours from a killer."""

    class Killed(BaseException):
        """Stands for the end of a process."""

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        if message.order_id == 4:
            raise Killed
        return await count_order(message, attempt, conn)

    box = await opened(ledger(call))
    await filled(box, 7)
    with pytest.raises(Killed):
        await box.lane("mailer").run_once()
    meanwhile = [lease.claimed.id for lease in await box.claim("mailer")]
    box.advance(timedelta(minutes=1))
    await box.decide_expired()
    alone = await box.claim_alone()

    assert len(meanwhile) == 1  # the seventh, which nobody had locked
    assert alone is not None
    assert alone.claimed.id not in meanwhile
    assert rows("select count(*) from effect") == [(3,)]


async def test_a_batch_rolled_back_too_late_is_run_singly_next(opened: Opened, rows: Rows) -> None:
    """One slow failure must not roll its neighbours back again and again (P2, P8)."""
    too_late, meanwhile = asyncio.Event(), asyncio.Event()
    tried: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        tried.append(message.order_id)
        await count_order(message, attempt, conn)
        if message.order_id == 1:
            await too_late.wait()
            return Retry(after=timedelta(minutes=1))
        if message.order_id == 2:
            await meanwhile.wait()
        return Done()

    box = await opened(ledger(call))
    await box.publish_many(*(Publication(message=OrderPlaced(order_id=n)) for n in range(4)))
    lane = box.lane("mailer")
    first, after = await lane.claims.claim(2), await lane.claims.claim(2)
    starts_by = asyncio.get_running_loop().time() + 0.05
    asyncio.get_running_loop().call_at(starts_by + 0.001, too_late.set)
    slow = asyncio.create_task(lane.run_batch(after, asyncio.get_running_loop().time() + 60))
    await lane.run_batch(first, starts_by)
    given_back = await box.census()
    meanwhile.set()  # a batch that began earlier and ends well makes nobody forget
    await slow
    tried.clear()
    lane.claims.look_everywhere()
    await lane.run_batch(await lane.claims.claim(2), lane.starts_by())

    assert given_back.pending == 2
    assert tried == [0, 1]
    assert rows("select count(*) from effect") == [(3,)]
    assert rows("select attempts from outbox.delivery") == [(1,)]


async def test_what_a_handler_awaited_being_cancelled_is_a_failure_like_any_other(
    opened: Opened, rows: Rows
) -> None:
    """Nobody told the relay to stop: the attempt ends, and the lane goes on."""

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del message, attempt, conn
        shared = asyncio.ensure_future(asyncio.Event().wait())
        shared.cancel()
        await shared
        return Done()

    box = await opened(ledger(call))
    await box.publish(OrderPlaced(order_id=1))
    await box.run_once()

    assert rows("select attempts, last_reason from outbox.delivery") == [(1, "cancelled")]


async def test_a_batch_may_be_taken_at_once(opened: Opened, rows: Rows) -> None:
    """`call_many` answers for each; `call` is asked where the batch did not end well."""
    batches: list[int] = []

    async def call_many(
        items: Sequence[tuple[OrderPlaced, Attempt]], conn: AsyncConnection[Any]
    ) -> Mapping[int, Outcome]:
        batches.append(len(items))
        for message, attempt in items:
            await count_order(message, attempt, conn)
        numbers = {attempt.delivery_id: message.order_id for message, attempt in items}
        return {found: Done() for found, number in numbers.items() if number != 4}

    box = await opened(ledger(call_many=call_many))
    await filled(box, 6)
    await box.lane("mailer").run_once()

    assert batches == [3, 3]
    assert rows("select count(*) from effect") == [(6,)]
    assert rows(COUNTS) == []


def test_only_a_database_handler_takes_many() -> None:
    async def many(*_: Any) -> Any:
        return {}

    with pytest.raises(HandlerInvalid, match="call_many"):
        mailer(nothing, effect=Effect.IDEMPOTENT, call_many=many)
