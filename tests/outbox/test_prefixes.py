"""A batch that takes long is closed in prefixes, a transaction each; nothing stays held of any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outbox import Effect, Order, database
from tests.outbox.shop import OrderPlaced, count_order, mailer

if TYPE_CHECKING:
    import pytest

    from outbox import Attempt, Outcome
    from tests.outbox.conftest import Opened, Rows


async def test_the_keys_of_every_prefix_are_free_at_the_end(
    opened: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of the first prefix that is in no later one was held until its lease ran out."""
    monkeypatch.setattr(database, "TOGETHER_SECONDS_MAX", -1.0)  # the first is one delivery

    async def count(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        monkeypatch.setattr(database, "TOGETHER_SECONDS_MAX", 60.0)  # the second is all the rest
        return await count_order(message, attempt, conn)

    box = await opened(mailer(count, effect=Effect.DATABASE, order=Order.KEYED))
    for number in range(4):
        await box.publish(OrderPlaced(order_id=number), key=f"order:{number}")

    assert await box.run_once() == 4

    assert rows("select count(*) from effect") == [(4,)]
    assert rows("select key from outbox.key_lease") == []
