"""Reserving stock: an effect in the database, so it happens exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.shop import queries
from examples.shop.messages import OrderConfirmed, OrderPlaced, OrderRefused
from outbox import Attempt, Done, Effect, Handler, Outcome, Suppressed, apublish

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def reserve(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """Reserve, and tell the answer in the same commit.

    Idempotence: the reservation, the message and the end of this attempt are one transaction; an
    order that was answered before is left as it is.
    """
    del attempt
    status = await queries.reserve(conn, message.order_id)
    if status is None:
        return Suppressed("answered_before")
    answer = OrderConfirmed if status == "confirmed" else OrderRefused
    await apublish(conn, answer(order_id=message.order_id), key=f"order:{message.order_id}")
    return Done({"status": status})


STOCK = Handler(name="stock", messages=(OrderPlaced,), effect=Effect.DATABASE, call=reserve)
