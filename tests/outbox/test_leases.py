"""P2 and P3: a lease is a right for a time, proved by its token; nothing else settles."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from outbox import App, Dead, Done, Effect, Order, Retry, Suppressed, Unknown, publish
from outbox.errors import UsageError
from outbox.testing import OutboxHarness, ShiftedClock
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, Unheard, made, mailer

if TYPE_CHECKING:
    from outbox import Outcome
    from tests.outbox.conftest import Opened, Rows

ORDER = OrderPlaced(order_id=1)
OUTCOMES: list[Outcome] = [
    Done({"mail": "7"}),
    Suppressed("nobody_wants_it"),
    Retry(10 * SECOND, "busy"),
    Dead("refused"),
    Unknown("reset"),
]


async def test_a_lost_lease_settles_nothing(opened: Opened) -> None:
    """A worker that outlives its lease cannot overwrite the one that took over."""
    box = await opened(mailer())
    await box.publish(ORDER)
    slow = await box.claim_one()
    box.advance(31 * SECOND)
    fast = await box.claim_alone()
    assert fast is not None

    held = await box.settle(slow, Done())

    assert not held
    assert await box.lease_of(fast.delivery_id) == fast


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_a_forged_token_settles_nothing(outcome: Outcome, opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    lease = await box.claim_one()

    held = await box.settle(replace(lease, token=uuid4()), outcome)

    assert not held
    assert await box.lease_of(lease.delivery_id) == lease
    assert await box.receipts(lease.delivery_id) == []


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_no_attempt_is_settled_twice(outcome: Outcome, opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    lease = await box.claim_one()

    first = await box.settle(lease, outcome)
    second = await box.settle(lease, outcome)

    assert first
    assert not second
    assert len(await box.receipts(lease.delivery_id)) == 1


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_each_outcome_leaves_its_receipt_and_its_census(
    outcome: Outcome, opened: Opened
) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    lease = await box.claim_one()
    await box.settle(lease, outcome)

    (receipt,) = await box.receipts(lease.delivery_id)
    census = await box.census()

    word = type(outcome).__name__.lower()
    assert (receipt["outcome"], receipt["attempt"]) == (word, 1)
    assert receipt["relay"] == box.relay.name
    assert census.pending == (word == "retry")
    assert census.dead == (word == "dead")
    assert census.unknown == (word == "unknown")
    assert census.done == (word in {"done", "suppressed"})
    assert census.leased == 0


async def test_an_expired_lease_still_settles_while_nobody_acted(opened: Opened) -> None:
    """Late is not lost: the token is the right, the date only tells when others may take it."""
    box = await opened(mailer())
    await box.publish(ORDER)
    lease = await box.claim_one()
    box.advance(MINUTE)

    assert await box.settle(lease, Done())


async def test_what_was_taken_and_not_settled_is_not_taken_by_an_ordinary_claim(
    opened: Opened,
) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    await box.claim_one()
    before = await box.claim_alone()
    box.advance(31 * SECOND)

    assert before is None
    assert await box.claim("mailer") == []
    assert await box.claim_alone() is not None


async def test_a_lease_given_back_counts_nothing(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    first = await box.claim_one()
    await box.give_back(first)
    second = await box.claim_one()

    assert second.attempt == 1
    assert not await box.settle(first, Done())
    assert rows("select attempts, lone_claims from outbox.delivery") == [(0, 0)]


async def test_a_retry_falls_due_after_its_wait_and_not_before(opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(ORDER)
    await box.settle(await box.claim_one(), Retry(10 * SECOND, "busy"))
    box.advance(9 * SECOND)
    early = await box.claim("mailer")
    box.advance(1 * SECOND)

    assert early == []
    assert (await box.claim_one()).attempt == 2


async def test_a_due_date_ahead_is_waited_for(opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(ORDER, due_at=box.clock.now() + MINUTE)
    early = await box.claim("mailer")
    box.advance(MINUTE)

    assert early == []
    assert len(await box.claim("mailer")) == 1


async def test_a_claim_is_bounded_and_in_the_order_of_publication(opened: Opened) -> None:
    box = await opened(mailer())
    receipts = [await box.publish(OrderPlaced(order_id=n)) for n in range(5)]
    first, second = await box.claim("mailer", limit=3), await box.claim("mailer", limit=3)

    claimed = [lease.claimed.message_id for lease in (*first, *second)]
    assert claimed == [receipt.message_id for receipt in receipts]


async def test_neither_retries_nor_fresh_messages_starve_the_other(opened: Opened) -> None:
    """A claim is at most half retries while fresh messages wait."""
    box = await opened(mailer())
    for number in range(6):
        await box.publish(OrderPlaced(order_id=number))
    for lease in await box.claim("mailer"):
        await box.settle(lease, Retry(10 * SECOND, "busy"))
    box.advance(MINUTE)
    for number in range(6):
        await box.publish(OrderPlaced(order_id=number))

    claimed = await box.claim("mailer", limit=4)

    assert sorted(lease.attempt for lease in claimed) == [1, 1, 2, 2]


async def test_a_row_that_committed_late_is_found_below_the_mark(
    opened: Opened, database: str
) -> None:
    """A long transaction commits ids that claims have passed already."""
    box = await opened(mailer())
    claims = box.lane("mailer").claims
    with psycopg.connect(database) as late:
        publish(late, OrderPlaced(order_id=1))
        for number in range(4):
            await box.publish(OrderPlaced(order_id=number))
        assert len(await claims.claim(2)) == 2  # a full claim sets the mark
        late.commit()
    passed = await claims.claim(2)
    claims.look_everywhere()
    found = await claims.claim(2)

    assert len(passed) == 2
    assert [row.id for row in found] == [min(row.id for row in found)]
    assert found[0].id < passed[0].id


async def test_fan_out_gives_each_handler_its_own_delivery(opened: Opened) -> None:
    box = await opened(mailer(), mailer(name="ledger", order=Order.KEYED))
    receipt = await box.publish(ORDER, key="a")
    await box.settle(await box.claim_one("mailer"), Dead("refused"))

    assert receipt.deliveries == 2
    assert (await box.census("mailer")).dead == 1
    assert (await box.census("ledger")).pending == 1


async def test_an_ambiguous_call_may_not_begin_under_a_lease_that_will_not_last(
    opened: Opened,
) -> None:
    """The lease is 30 s and the call may take 20 s: after 11 s it could outlive its lease."""
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    await box.publish(ORDER)
    lease = await box.claim_one()
    box.advance(11 * SECOND)

    assert await box.begin(lease) == set()


async def test_an_unheard_topic_is_parked_and_adopted_with_its_terms(
    opened: Opened, rows: Rows
) -> None:
    """Never dropped: once a handler is routed it is delivered, and not before its due date."""
    box = await opened(mailer())
    due_at = box.clock.now().replace(microsecond=0) + MINUTE
    receipts = [
        await box.publish(Unheard(), key="k", priority=3),
        await box.publish(Unheard(), due_at=due_at),
        await box.publish(Unheard(), dedup_key="once"),
    ]
    rows("select outbox.publish('tree.fallen', '{}')")
    parked = rows("select count(*) from outbox.unrouted")
    later = await opened(mailer(name="listener", messages=(Unheard,), order=Order.KEYED))
    await later.drain()

    assert [receipt.deliveries for receipt in receipts] == [0, 0, 0]
    assert parked == [(4,)]
    assert rows("select count(*) from outbox.unrouted") == [(0,)]
    assert rows("select handler, due_at from outbox.delivery") == [("listener", due_at)]
    assert (await later.census("listener")).done == 3


def test_the_harness_wants_time_in_its_own_hands() -> None:
    with pytest.raises(UsageError, match="VirtualClock"):
        OutboxHarness(App("shop"), "postgresql://nobody@localhost/none")


def test_a_shifted_clock_runs_ahead() -> None:
    clock = ShiftedClock(timedelta(hours=1))

    assert clock.sql_now() - datetime.now(UTC) > timedelta(minutes=59)
    assert made().clock.now() < clock.now()
