"""The example shop as its next release: another message version, and a handler more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from examples.shop.mails import MailWebhook
from examples.shop.messages import OrderConfirmed, OrderPlaced
from examples.shop.migrations import HISTORY
from examples.shop.stock import STOCK, reserve
from outbox import App, Attempt, Done, Effect, Handler, Message, Outcome

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class OrderPlacedOn(Message, topic="order.placed", version=2, dedup_window=timedelta(days=7)):
    """Somebody ordered something, and where: what today's release cannot read."""

    order_id: int
    channel: str


async def reserve_either(
    message: OrderPlaced | OrderPlacedOn, attempt: Attempt, conn: AsyncConnection[Any]
) -> Outcome:
    """As before; of the new version the channel is kept."""
    if isinstance(message, OrderPlacedOn):
        await conn.execute(
            "insert into channel values (%s, %s)", (message.order_id, message.channel)
        )
    return await reserve(OrderPlaced(order_id=message.order_id), attempt, conn)


async def give_points(
    message: OrderConfirmed, attempt: Attempt, conn: AsyncConnection[Any]
) -> Outcome:
    """One row per order."""
    del attempt
    await conn.execute("insert into points values (%s)", (message.order_id,))
    return Done()


def answered(_: httpx.Request) -> httpx.Response:
    return httpx.Response(202)


def build() -> App:
    mails = MailWebhook(httpx.MockTransport(answered))
    app = App("shop", lifespan=mails.opened, histories=(HISTORY,))
    app.add(replace(STOCK, messages=(OrderPlaced, OrderPlacedOn), call=reserve_either))
    app.add(mails.handler())
    app.add(
        Handler(name="points", messages=(OrderConfirmed,), effect=Effect.DATABASE, call=give_points)
    )
    return app


app = build()
