"""Priorities decide who goes first, and starve nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outbox import Attempt, Done, Effect, Order, Outcome, Publication, Retry
from outbox.claiming import BY_AGE_EVERY
from outbox.queries import CLAIM, CLAIM_RANKED
from tests.outbox.shop import SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox.testing import Lease, OutboxHarness
    from tests.outbox.conftest import Opened, Rows


async def orders(box: OutboxHarness, *priorities: int, first: int = 0, **terms: Any) -> None:
    await box.publish_many(
        *(
            Publication(message=OrderPlaced(order_id=first + place), priority=one, **terms)
            for place, one in enumerate(priorities)
        )
    )


def number(lease: Lease) -> int:
    return OrderPlaced.model_validate_json(lease.claimed.payload).order_id


async def one_by_one(box: OutboxHarness, count: int) -> list[int]:
    """What a worker with one slot does, as a daemon: it looks everywhere only at the start."""
    claims, taken = box.lane("mailer").claims, []
    claims.look_everywhere()
    for _ in range(count):
        rows = await claims.claim(1)
        taken += [OrderPlaced.model_validate_json(row.payload).order_id for row in rows]
    return taken


async def test_the_highest_goes_first_and_the_lowest_last(opened: Opened) -> None:
    box = await opened(mailer())
    await orders(box, 0, -5, 7, 0, 100, 7, -9)

    assert await one_by_one(box, 7) == [4, 2, 5, 0, 3, 1, 6]


async def test_without_priorities_the_oldest_goes_first(opened: Opened) -> None:
    box = await opened(mailer())
    await orders(box, *[0] * 20)

    assert await one_by_one(box, 20) == list(range(20))


@pytest.mark.parametrize("old", ["plain", "low", "retry"])
async def test_nothing_waits_for_ever_behind_urgent_ones(old: str, opened: Opened) -> None:
    """An urgent one comes in with each claim; what waits is taken within a few claims."""
    box = await opened(mailer())
    await orders(box, -100 if old == "low" else 0, first=999)
    if old == "retry":
        await box.settle(await box.claim_one(), Retry(SECOND, "busy"))
        box.advance(SECOND)
    await orders(box, *[50] * (2 * BY_AGE_EVERY))
    box.lane("mailer").claims.look_everywhere()
    taken = await one_by_one(box, BY_AGE_EVERY)

    assert 999 in taken
    assert len(taken) == BY_AGE_EVERY
    assert taken.count(999) == 1


async def test_low_ones_do_not_starve_behind_plain_ones(opened: Opened) -> None:
    box = await opened(mailer())
    await orders(box, -1, first=999)
    await orders(box, *[0] * (2 * BY_AGE_EVERY))

    assert 999 in await one_by_one(box, BY_AGE_EVERY)


async def test_an_urgent_newcomer_leaves_nothing_behind_the_mark(opened: Opened) -> None:
    """Its id is above what waits, and says nothing about how far a claim has looked."""
    box = await opened(mailer())
    await orders(box, *[0] * 6)
    await orders(box, 9, 9, first=100)
    taken = await one_by_one(box, 8)

    assert taken[:2] == [100, 101]
    assert sorted(taken[2:]) == list(range(6))


async def test_plain_ones_that_come_while_low_ones_wait_go_first(opened: Opened) -> None:
    box = await opened(mailer())
    await orders(box, *[-1] * 30)
    some = await one_by_one(box, 3)
    await orders(box, 0, 0, first=100)
    claims = box.lane("mailer").claims
    then = [OrderPlaced.model_validate_json(row.payload).order_id for row in await claims.claim(2)]

    assert some == [0, 1, 2]
    assert then == [100, 101]


async def test_a_walk_over_waiting_low_ones_is_made_once(opened: Opened) -> None:
    """The mark is moved past them: each next claim would walk over all of them again."""
    box = await opened(mailer())
    await orders(box, *[-1] * 30)
    claims = box.lane("mailer").claims
    await claims.claim(5)

    assert claims.mark.start() == max(row.id for row in await claims.claim(30))


async def test_a_backlog_of_database_effects_goes_by_rank_too(opened: Opened, rows: Rows) -> None:
    seen: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del attempt, conn
        seen.append(message.order_id)
        return Done()

    box = await opened(mailer(call, effect=Effect.DATABASE, batch_max=3))
    await orders(box, *[0] * 6, *[5] * 6, *[-5] * 3)
    lane = box.lane("mailer")
    assert await lane.run_once() == 3
    assert not lane.may_hold  # a held batch asks for no rank
    while await lane.run_once():
        pass

    assert set(seen[:6]) == set(range(6, 12))
    assert set(seen[6:12]) == set(range(6))
    assert rows("select count(*) from outbox.delivery") == [(0,)]


async def test_the_order_of_a_key_wins_over_any_priority(opened: Opened) -> None:
    box = await opened(mailer(order=Order.KEYED))
    await orders(box, 0, 100, -100, 50, key="a")
    run = await box.lane("mailer").claims.claim(10)

    assert [row.position for row in run] == sorted(row.position for row in run)
    assert len(run) == 4


async def test_a_handler_that_is_no_longer_ordered_still_takes_ranked_rows_with_keys(
    opened: Opened,
) -> None:
    ordered = await opened(mailer(order=Order.KEYED))
    await orders(ordered, 0, 100, -100, key="a")
    box = await opened(mailer())

    assert len(await box.claim("mailer")) == 3


def test_what_stops_a_claim_stops_one_by_rank() -> None:
    """Pause, hold, circuit and breaker are asked in the same words by both statements."""
    first, second = (
        text[text.index("), open as (") : text.index("), held as")]
        for text in (CLAIM, CLAIM_RANKED)
    )

    assert first == second
