"""P5: per key one at a time and in order; newest-only skips what is overtaken, never the newest."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Dead, Done, Effect, Order, Retry, Settled, Superseded, Unknown
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
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

    assert await claimed(box) == [0, 2, 3, 4]
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


async def test_what_is_left_to_a_newer_relay_blocks_its_key(opened: Opened) -> None:
    box = await opened(KEYED)
    await order(box, 1)
    await order(box, 2)
    lease = await box.claim_one()
    await box.lane("mailer").give_back([lease.claimed], wait=30 * SECOND)

    assert await claimed(box) == []


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
    """The guard of P5: whatever a claim believed, two deliveries of a key are never both out."""
    box = await opened(handler)
    await order(box, 1, sequence=1)
    await box.claim_one()
    await order(box, 2, sequence=2)

    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        rows(
            "update outbox.delivery set lease_token = gen_random_uuid(), lease_until = now()"
            " where lease_token is null"
        )

    assert refused.value.diag.constraint_name == "delivery_one_lease_per_key"


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
