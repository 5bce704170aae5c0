"""A small application of somebody else's: a shop that takes orders and writes mails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from outbox import (
    App,
    Attempt,
    Done,
    Effect,
    Handler,
    Ladder,
    Message,
    Outcome,
    RetryPolicy,
    VirtualClock,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class OrderPlaced(Message, topic="order.placed", dedup_window=timedelta(days=1)):
    """Somebody bought something."""

    order_id: int
    note: str = ""


class StockChanged(Message, topic="stock.changed"):
    """A number on a shelf."""

    shelf: str
    count: int


class Unheard(Message, topic="tree.fallen"):
    """Nobody takes this one."""

    place: str = "forest"


POLICY = RetryPolicy(attempts_max=4, backoff=Ladder((10, 60, 300)), jitter=0.0)


async def nothing(message: Any, attempt: Attempt) -> Outcome:
    """Done without doing anything."""
    del message, attempt
    return Done()


async def count_order(
    message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]
) -> Outcome:
    """Write one row per delivery into the shop's own table."""
    await conn.execute(
        "insert into effect (delivery_id, note) values (%s, %s)",
        (attempt.delivery_id, message.note),
    )
    return Done()


EFFECT_TABLE = """
create table effect (
    id bigint generated always as identity primary key, delivery_id bigint not null, note text,
    constraint effect_once unique (delivery_id)
)
"""


def made(*handlers: Handler, name: str = "shop") -> App:
    """An application of these handlers, in a time of its own that begins now."""
    app = App(name, clock=VirtualClock(datetime.now(UTC)))
    for handler in handlers:
        app.add(handler)
    return app


def mailer(call: Any = nothing, **terms: Any) -> Handler:
    """The handler `mailer` of placed orders; an IDEMPOTENT one if nothing else is said."""
    named: dict[str, Any] = {
        "name": "mailer",
        "messages": (OrderPlaced,),
        "effect": Effect.IDEMPOTENT,
        "retry": POLICY,
    }
    return Handler(call=call, **(named | terms))
