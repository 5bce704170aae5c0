"""What stands still hides no probe, and is the probe where nothing else may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outbox import Effect, Order
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced
from tests.outbox.test_breaker import Destination

if TYPE_CHECKING:
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


async def order(box: OutboxHarness, number: int, key: str | None = None, **terms: Any) -> None:
    """One more order, under `key`."""
    await box.publish(OrderPlaced(order_id=number), key=key, **terms)


async def cut_off(box: OutboxHarness, down: Destination) -> None:
    """Let three deliveries fail, which opens the breaker, and then let the destination recover."""
    for number in (1, 2, 3):
        await order(box, number, f"failed:{number}")
    await box.drain()
    assert down.kinds == ["breaker_opened"]
    down.down = False
    down.calls.clear()


async def test_a_newest_only_key_in_dead_hands_is_no_probe(opened: Opened) -> None:
    """Its newest may not be tried before what was taken is settled: another key's is."""
    down = Destination()
    box = await opened(down.handler(order=Order.NEWEST))
    await order(box, 0, "dead")
    await box.claim_one()
    await cut_off(box, down)
    await order(box, 4, "dead")
    await order(box, 5, "free")
    box.advance(MINUTE)
    await box.drain()
    await box.drain()

    assert down.calls[0] == 5
    assert down.kinds[-1] == "breaker_closed"
    assert 4 in down.calls


@pytest.mark.parametrize("ordered", list(Order))
async def test_what_a_dead_relay_had_taken_is_the_probe_where_nothing_else_is(
    ordered: Order, opened: Opened
) -> None:
    down = Destination()
    box = await opened(down.handler(order=ordered))
    await order(box, 0, "dead")
    await box.claim_one()
    await cut_off(box, down)
    if ordered is not Order.NONE:
        await order(box, 4, "dead")
    box.advance(MINUTE)
    await box.drain()
    await box.drain()

    assert down.calls[0] == 0
    assert down.kinds[-1] == "breaker_closed"
    assert (4 in down.calls) is (ordered is not Order.NONE)


async def test_a_suspect_that_is_the_probe_leaves_the_breaker_open_if_it_fails(
    opened: Opened,
) -> None:
    down = Destination()
    box = await opened(down.handler())
    await order(box, 0)
    await box.claim_one()
    await cut_off(box, down)
    down.down = True
    box.advance(MINUTE)
    for _ in range(3):
        await box.drain()

    assert down.calls == [0]
    assert down.kinds == ["breaker_opened"]


async def test_a_long_queue_behind_a_held_call_hides_no_probe(opened: Opened) -> None:
    """More stands behind it than a probe is chosen from."""
    down = Destination()
    box = await opened(down.handler(order=Order.KEYED, effect=Effect.AMBIGUOUS))
    await order(box, 0, "held")
    await box.begin(await box.claim_one())
    box.advance(MINUTE)
    await box.decide_expired()
    await cut_off(box, down)
    for number in range(10, 31):
        await order(box, number, "held")
    await order(box, 5, "free")
    box.advance(5 * SECOND)
    await box.drain()

    assert down.calls[0] == 5
    assert down.kinds[-1] == "breaker_closed"


async def test_what_a_probe_finds_overtaken_is_settled_and_hides_no_other(
    opened: Opened, rows: Rows
) -> None:
    """It is no call, so the turn is not used up."""
    down = Destination(down=False)
    box = await opened(down.handler(order=Order.NEWEST))
    await order(box, 9, "shelf", sequence=2)
    await box.drain()
    down.down = True
    await cut_off(box, down)
    await order(box, 8, "shelf", sequence=1)
    box.advance(5 * SECOND)
    await box.drain()
    assert rows("select delivery_id from outbox.receipt where outcome = 'superseded'")
    assert down.kinds == ["breaker_opened"]

    await order(box, 5, "free")
    await box.drain()

    assert down.calls[0] == 5
    assert down.kinds[-1] == "breaker_closed"


async def test_what_only_other_code_can_read_is_no_probe(opened: Opened, rows: Rows) -> None:
    """It is given back, and would be the one with the fewest attempts for ever."""
    down = Destination()
    box = await opened(down.handler())
    await cut_off(box, down)
    await order(box, 4)
    rows("update outbox.message set version = 9 where payload ->> 'order_id' = '4' returning id")
    await order(box, 5)
    for _ in range(2):
        box.advance(MINUTE)
        await box.drain()

    assert down.calls[0] == 5
    assert down.kinds[-1] == "breaker_closed"
