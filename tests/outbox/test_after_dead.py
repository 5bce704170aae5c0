"""P5: what a dead letter does to its key is declared, `skip` or `block`, whoever meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outbox import AfterDead, Attempt, Dead, Done, Effect, Order, Outcome, Publication
from outbox.errors import HandlerInvalid
from outbox.testing import Lease
from tests.outbox.shop import SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


def blocking(call: Any = None, **terms: Any) -> Any:
    named = {"order": Order.KEYED, "after_dead": AfterDead.BLOCK} | terms
    return mailer(**named) if call is None else mailer(call, **named)


async def orders(box: OutboxHarness, *numbers: int, key: str | None = "a") -> None:
    for number in numbers:
        await box.publish(OrderPlaced(order_id=number), key=key)


async def claimed(box: OutboxHarness) -> list[int]:
    return [
        OrderPlaced.model_validate_json(one.claimed.payload).order_id
        for one in await box.claim("mailer")
    ]


@pytest.mark.parametrize("order", [Order.NONE, Order.NEWEST])
def test_only_a_keyed_handler_may_block(order: Order) -> None:
    with pytest.raises(HandlerInvalid, match="after_dead is block and order is"):
        mailer(order=order, after_dead=AfterDead.BLOCK)


async def test_a_dead_letter_that_blocks_keeps_its_key_and_no_other(opened: Opened) -> None:
    box = await opened(blocking())
    await orders(box, 1, 2, 3)
    await orders(box, 4, key="b")
    await orders(box, 5, key=None)
    first, *others = await box.claim("mailer")
    for lease in (first, *others):
        await box.settle(lease, Dead("refused") if lease.claimed.key == "a" else Done())

    assert len(others) == 2
    assert await claimed(box) == []
    assert (await box.census()).pending == 2


async def test_a_redriven_letter_goes_first_and_its_key_follows_in_order(opened: Opened) -> None:
    box = await opened(blocking())
    await orders(box, 1, 2, 3)
    await box.settle(await box.claim_one(), Dead("refused"))
    await box.redrive()
    taken: list[int] = []
    while leases := await box.claim("mailer"):
        taken += [OrderPlaced.model_validate_json(one.claimed.payload).order_id for one in leases]
        await box.settle(leases[0], Done())

    assert taken == [1, 2, 3]


async def test_a_dismissed_letter_lets_its_key_go_on(opened: Opened, rows: Rows) -> None:
    """Whoever removes the letter frees its key; there is nothing else to undo."""
    box = await opened(blocking())
    await orders(box, 1, 2)
    await box.settle(await box.claim_one(), Dead("refused"))
    rows("delete from outbox.dead_letter")

    assert await claimed(box) == [2]


async def test_an_earlier_one_that_comes_late_is_not_kept(opened: Opened) -> None:
    """The letter keeps what follows it, not what goes before."""
    box = await opened(blocking())
    await box.publish(OrderPlaced(order_id=5), key="a", sequence=5)
    await box.settle(await box.claim_one(), Dead("refused"))
    await box.publish(OrderPlaced(order_id=6), key="a", sequence=6)
    await box.publish(OrderPlaced(order_id=4), key="a", sequence=4)

    run = await box.lane("mailer").claims.claim(10)
    await box.settle(Lease.of("mailer", run[0]), Done())

    assert [row.sequence for row in run] == [4]
    assert await claimed(box) == []


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.DATABASE])
async def test_a_run_stops_at_a_dead_letter_that_blocks(effect: Effect, opened: Opened) -> None:
    """What was leased behind it in the same run is given back untried."""
    seen: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        seen.append(message.order_id)
        return Dead("refused") if message.order_id == 2 else Done()

    async def inside(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del conn
        return await call(message, attempt)

    box = await opened(blocking(inside if effect is Effect.DATABASE else call, effect=effect))
    await orders(box, 1, 2, 3, 4)
    await box.drain()

    assert 3 not in seen
    assert (await box.census()).pending == 2


async def test_a_payload_that_lies_blocks_what_follows_in_its_run(
    opened: Opened, rows: Rows
) -> None:
    seen: list[int] = []

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        seen.append(message.order_id)
        return Done()

    box = await opened(blocking(call))
    await orders(box, 1, 2, 3)
    rows("update outbox.message set payload = '{}' where payload ->> 'order_id' = '2'")
    await box.drain()

    assert seen == [1]
    assert (await box.census()).dead == 1


async def test_a_suspect_behind_a_dead_letter_waits_too(opened: Opened) -> None:
    """A worker died with the rest of a run in its hands, after the head of the run had died."""
    box = await opened(blocking())
    await orders(box, 1, 2)
    lane = box.lane("mailer")
    run = await lane.claims.claim(2)
    await box.settle(Lease.of("mailer", run[0]), Dead("refused"))
    box.advance(31 * SECOND)
    await box.decide_expired()

    assert len(run) == 2
    assert await box.claim_alone() is None
    await box.redrive()
    await box.settle(await box.claim_one(), Done())
    assert await box.claim_alone() is not None


async def test_a_key_blocked_for_long_hides_no_other_and_is_walked_in_few_looks(
    opened: Opened,
) -> None:
    """Each look that finds only blocked keys goes further than the one before."""
    box = await opened(blocking())
    await box.publish_many(
        *(Publication(message=OrderPlaced(order_id=n), key="a") for n in range(3_000))
    )
    await box.settle(await box.claim_one(), Dead("refused"))
    await orders(box, 9_999, key="b")

    assert await claimed(box) == [9_999]


async def test_blocked_keys_take_no_place_from_one_that_may_go(opened: Opened) -> None:
    box = await opened(blocking())
    for key in "abcd":
        await orders(box, 1, 2, key=key)
    for lease in await box.claim("mailer"):
        await box.settle(lease, Dead("refused"))
    await orders(box, 9, key="e")

    assert [one.claimed.key for one in await box.claim("mailer", limit=2)] == ["e"]
