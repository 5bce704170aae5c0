"""P5: per key one at a time and in order; newest-only skips what is overtaken, never the newest."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    Attempt,
    Dead,
    Done,
    Effect,
    Message,
    Order,
    Outcome,
    Publication,
    Retry,
    Settled,
    Superseded,
    Unknown,
)
from outbox.calling import SETTLE_WRITES_MAX
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.testing import Lease, OutboxHarness
    from tests.outbox.conftest import Opened, Rows

KEYED, NEWEST = mailer(order=Order.KEYED), mailer(order=Order.NEWEST)


async def order(box: OutboxHarness, number: int, key: str | None = "a", **terms: Any) -> None:
    await box.publish(OrderPlaced(order_id=number), key=key, **terms)


async def claimed(box: OutboxHarness) -> list[int]:
    """The numbers of the orders that one claim takes."""
    return [number_of(lease) for lease in await box.claim("mailer")]


def number_of(lease: Lease) -> int:
    return OrderPlaced.model_validate_json(lease.claimed.payload).order_id


async def test_only_the_head_of_each_key_is_claimed(opened: Opened) -> None:
    box = await opened(KEYED)
    for number, key in enumerate(["a", "a", "b", None, None]):
        await order(box, number, key)

    assert sorted(await claimed(box)) == [0, 2, 3, 4]
    assert await claimed(box) == []


async def test_settling_the_head_frees_the_next(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 1)
    await order(box, 2)
    await box.settle(await box.claim_one(), Done())

    assert await claimed(box) == [2]


async def test_a_sequence_decides_and_not_the_time_of_publication(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 2, sequence=2)
    await order(box, 1, sequence=1)

    assert await claimed(box) == [1]


async def test_backoff_blocks_its_key_and_no_other(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 1)
    await order(box, 2)
    await order(box, 3, "b")
    first, _ = await box.claim("mailer")
    await box.settle(first, Retry(10 * SECOND, "busy"))
    meanwhile = await claimed(box)
    box.advance(10 * SECOND)

    assert meanwhile == []
    assert await claimed(box) == [1]


@pytest.mark.parametrize("spent", [True, False])
async def test_a_wait_that_spends_nothing_blocks_its_key_too(
    spent: bool,  # noqa: FBT001 - a case
    opened: Opened,
) -> None:
    """Else what follows it would overtake it, although it was published first."""
    box = await opened(KEYED)
    await order(box, 1)
    await order(box, 2)
    await box.settle(await box.claim_one(), Retry(10 * SECOND, "", spent=spent))

    assert await claimed(box) == []


class NewOrderPlaced(Message, topic="order.placed", version=2):
    """What the next version of the shop publishes."""

    order_id: int


@pytest.mark.parametrize("ordered", [Order.KEYED, Order.NEWEST, Order.NONE])
async def test_what_only_newer_code_reads_is_left_to_it_and_blocks_its_key(
    ordered: Order, opened: Opened, rows: Rows
) -> None:
    """Older code claims no other from the first it met; nothing is spent, nothing waits."""
    old = await opened(mailer(order=ordered))
    new = await opened(mailer(order=ordered, messages=(OrderPlaced, NewOrderPlaced)))
    for key in ("a", "b"):
        await old.publish(NewOrderPlaced(order_id=1), key=key)
    await old.drain()
    await order(old, 2)
    await order(old, 3, "c")
    seen = "select count(*) from outbox.receipt"
    before = rows(seen)
    await old.drain()
    tried = rows(seen)
    left = rows("select key, attempts, lone_claims, due_at, lease_token from outbox.delivery")
    await new.drain()

    assert before == [(0,)]
    assert tried == [({Order.NONE: 2, Order.KEYED: 1, Order.NEWEST: 3}[ordered],)]
    assert all(row[1:] == (0, 0, None, None) for row in left)
    assert rows("select count(*) from outbox.delivery") == [(0,)]
    assert rows("select * from outbox.dead_letter") == []


async def test_an_unknown_outcome_blocks_its_key(opened: Opened) -> None:
    box = await opened(mailer(order=Order.KEYED, effect=Effect.AMBIGUOUS))
    await order(box, 1)
    await order(box, 2)
    await box.settle(await box.claim_one(), Unknown("reset"))

    assert await claimed(box) == []


async def test_a_dead_letter_lets_the_next_pass(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 1)
    await order(box, 2)
    await box.settle(await box.claim_one(), Dead("refused"))

    assert await claimed(box) == [2]


async def test_a_first_due_date_ahead_has_not_joined_its_key(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 1, due_at=box.clock.now() + MINUTE)
    await order(box, 2)

    assert await claimed(box) == [2]


@pytest.mark.parametrize("how", ["lower_sequence", "joined_late", "redriven"])
async def test_an_earlier_one_that_comes_late_waits_for_the_one_in_flight(
    how: str, opened: Opened
) -> None:
    """One at a time holds also for a row that no earlier claim could have seen."""
    box = await opened(KEYED)
    if how == "joined_late":
        await order(box, 1, due_at=box.clock.now() + 5 * SECOND)
    if how == "redriven":
        await order(box, 1)
        await box.settle(await box.claim_one(), Dead("refused"))
    await order(box, 2, sequence=10**9)
    flying = await box.claim_one()
    box.advance(5 * SECOND)
    if how == "lower_sequence":
        await order(box, 1, sequence=1)
    if how == "redriven":
        await box.redrive()
    meanwhile = await claimed(box)
    await box.settle(flying, Done())

    assert number_of(flying) == 2
    assert meanwhile == []
    assert await claimed(box) == [1]


@pytest.mark.parametrize("handler", [KEYED, NEWEST], ids=["keyed", "newest"])
async def test_the_database_refuses_a_second_lease_on_a_key(
    handler: Any, opened: Opened, rows: Rows
) -> None:
    """The guard of P5: whatever a claim believed, a key is never in two hands."""
    box = await opened(handler)
    await order(box, 1, sequence=1)
    await box.claim_one()

    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        rows("insert into outbox.key_lease values ('mailer', 'a', gen_random_uuid(), now())")

    assert refused.value.diag.constraint_name == "key_lease_pk"


async def test_a_run_of_a_key_is_worked_off_in_order(opened: Opened) -> None:
    """One worker takes what follows in a key at once; nobody else gets any of it meanwhile."""
    box = await opened(KEYED)
    for number in range(5):
        await order(box, number)
    claims = box.lane("mailer").claims
    run = await claims.claim(3)

    assert [row.position for row in run] == sorted(row.position for row in run)
    assert len(run) == 3
    assert await claimed(box) == []


async def test_a_run_stops_at_what_must_be_tried_again(opened: Opened, rows: Rows) -> None:
    """What follows a failed delivery in its key is given back, not tried before it."""
    seen: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        seen.append(message.order_id)
        return Retry() if message.order_id == 1 else Done()

    box = await opened(mailer(call, order=Order.KEYED))
    for number in range(4):
        await order(box, number)
    await box.run_once()

    assert seen == [0, 1]
    assert rows("select count(*) from outbox.key_lease") == [(0,)]
    assert rows("select count(*) from outbox.delivery where lease_token is not null") == [(0,)]


@pytest.mark.parametrize("kind", [Order.KEYED, Order.NEWEST])
async def test_a_backlog_is_in_order_too(kind: Order, opened: Opened) -> None:
    """P5: what has an order is never worked off under row locks, which know no keys."""
    calls: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        del attempt, conn
        calls.append(message.order_id)
        return Done()

    box = await opened(mailer(call, order=kind, effect=Effect.DATABASE, batch_max=2))
    await order(box, 1, "a")
    await box.claim_one()  # in the hands of another
    for number, key in ((2, "b"), (3, "c"), (4, "a"), (5, "d")):
        await order(box, number, key)
    for _ in range(4):
        await box.run_once()

    assert sorted(calls) == [2, 3, 5]


async def test_nothing_is_settled_behind_what_could_not_be(opened: Opened, rows: Rows) -> None:
    """P5: the end of the first is lost, so the second of its run may not stand before it."""
    calls: list[int] = []
    given_up, refusals = asyncio.Event(), SETTLE_WRITES_MAX

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        calls.append(message.order_id)
        if message.order_id == 2:
            await given_up.wait()
        return Done()

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        nonlocal refusals
        del conn
        if refusals and any(one.message == OrderPlaced(order_id=1) for one in settled):
            refusals -= 1
            if not refusals:
                given_up.set()
            raise psycopg.OperationalError

    box = await opened(mailer(call, order=Order.KEYED, record=record))
    await order(box, 1, "a")
    await order(box, 2, "a")
    await box.run_once()
    written = rows("select count(*) from outbox.receipt")
    box.advance(MINUTE)
    await box.drain()

    assert written == [(0,)]
    assert calls == [1, 2, 1, 2]


async def test_a_key_long_blocked_hides_no_other(opened: Opened) -> None:
    """More blocked deliveries than a claim looks at lie before one that may go."""
    box = await opened(KEYED)
    await box.publish_many(
        *(Publication(message=OrderPlaced(order_id=n), key="a") for n in range(500))
    )
    await box.settle(await box.claim_one(), Retry(after=MINUTE))
    await order(box, 999, "b")

    assert await claimed(box) == [999]


async def test_a_handler_that_is_no_longer_ordered_works_off_its_keys_one_by_one(
    opened: Opened,
) -> None:
    """Deliveries keep the key they were published with; the new way must not stumble over it."""
    ordered = await opened(KEYED)
    for number in range(3):
        await order(ordered, number)
    box = await opened(mailer(order=Order.NONE))
    await order(box, 3)
    await box.drain()

    assert (await box.census()).done == 4


async def test_a_handler_that_became_newest_only_still_takes_what_has_no_key(
    opened: Opened,
) -> None:
    plain = await opened(mailer())
    await order(plain, 1)
    box = await opened(NEWEST)
    await order(box, 2, None)
    await order(box, 3, "a")

    assert sorted(await claimed(box)) == [1, 2, 3]


async def test_the_newest_supersedes_what_it_has_overtaken(opened: Opened) -> None:
    told: list[Settled] = []

    async def record(conn: Any, settled: Any) -> None:
        del conn
        told.extend(settled)

    box = await opened(mailer(order=Order.NEWEST, record=record))
    for number in (3, 1, 2):
        await order(box, number, sequence=number)
    taken = await claimed(box)

    assert taken == [3]
    assert [(one.sequence, one.outcome) for one in told] == [(1, Superseded()), (2, Superseded())]
    assert (await box.census()).overtaken == 2


async def test_a_newer_one_waits_for_the_call_in_flight(opened: Opened) -> None:
    box = await opened(NEWEST)
    await order(box, 1, sequence=1)
    flying = await box.claim_one()
    for number in (2, 3):
        await order(box, number, sequence=number)
    meanwhile = await claimed(box)
    await box.settle(flying, Done())

    assert meanwhile == []
    assert await claimed(box) == [3]
    assert (await box.census()).overtaken == 1


async def test_a_newer_one_ends_the_backoff_of_an_older(opened: Opened) -> None:
    box = await opened(NEWEST)
    await order(box, 1, sequence=1)
    await box.settle(await box.claim_one(), Retry(timedelta(hours=1), "busy"))
    await order(box, 2, sequence=2)

    assert await claimed(box) == [2]
    assert (await box.census()).overtaken == 1


async def test_the_newest_is_never_skipped_while_it_waits(opened: Opened) -> None:
    """An older one that comes due is overtaken by it, and it keeps its own backoff."""
    box = await opened(NEWEST)
    await order(box, 2, sequence=2)
    await box.settle(await box.claim_one(), Retry(10 * SECOND, "busy"))
    await order(box, 1, sequence=1)
    meanwhile = await claimed(box)
    box.advance(10 * SECOND)

    assert meanwhile == []
    assert await claimed(box) == [2]
    assert (await box.census()).overtaken == 1


async def test_keys_do_not_wait_for_each_other(opened: Opened) -> None:
    box = await opened(NEWEST)
    for number, key in enumerate(["a", "b", "a", "b"]):
        await order(box, number, key)

    assert sorted(await claimed(box)) == [2, 3]


@pytest.mark.parametrize("how", ["redriven", "late", "due_later"])
async def test_nothing_older_is_tried_after_a_newer_one_was(how: str, opened: Opened) -> None:
    """The receiver would be told an old state: the engine itself remembers what was taken."""
    box = await opened(NEWEST)
    if how == "redriven":
        await order(box, 1, sequence=1)
        await box.settle(await box.claim_one(), Dead("refused"))
    if how == "due_later":
        await order(box, 1, sequence=1, due_at=box.clock.now() + MINUTE)
    await order(box, 2, sequence=2)
    await box.settle(await box.claim_one(), Done())
    if how == "redriven":
        await box.redrive()
    if how == "late":
        await order(box, 1, sequence=1)
    box.advance(MINUTE)

    assert await claimed(box) == []
    assert (await box.census()).overtaken == 1


async def test_the_newest_itself_is_tried_again_and_redriven(opened: Opened) -> None:
    """What is remembered overtakes what is older, never itself."""
    box = await opened(NEWEST)
    await order(box, 7, sequence=7)
    await box.settle(await box.claim_one(), Retry(SECOND, "busy"))
    box.advance(SECOND)
    await box.settle(await box.claim_one(), Dead("refused"))
    await box.redrive()

    assert await claimed(box) == [7]


async def test_newest_only_keys_that_wait_for_a_person_take_no_place(opened: Opened) -> None:
    """One place, and a key that falls due behind a held call: the other keys go on."""
    called: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        called.append(message.order_id)
        return Done()

    box = await opened(mailer(call, order=Order.NEWEST, effect=Effect.AMBIGUOUS, concurrency=1))
    await order(box, 0, "a")
    await box.begin(await box.claim_one())
    box.advance(MINUTE)
    await box.decide_expired()
    await order(box, 1, "a", due_at=box.clock.now() + SECOND)
    await order(box, 2, "b", due_at=box.clock.now() + 2 * SECOND)
    await order(box, 3, "c")
    await order(box, 4, "d")
    box.advance(MINUTE)
    async with asyncio.timeout(10):
        await box.drain()

    assert sorted(called) == [2, 3, 4]
