"""The application: three who serve a trip, each with a table of its own, and the flow over them.

The three stand for services outside; here they write rows, so that the example needs no network.
The README shows how it is run.
"""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection, sql

from examples.trip.commands import commands
from examples.trip.flow import TRIP
from examples.trip.messages import (
    BookFlight,
    BookRoom,
    CancelFlight,
    CancelRoom,
    ChargeCard,
    RefundCard,
)
from outbox import App, Attempt, Clock, Done, Effect, Handler, Message, Outcome, PermanentFailure

CARD_LIMIT_CENTS = 100_000


async def _write(conn: AsyncConnection[Any], table: str, trip_id: int, state: str) -> Outcome:
    statement = sql.SQL(
        "insert into {} (trip_id, state) values (%s, %s)"
        " on conflict (trip_id) do update set state = excluded.state"
    )
    await conn.execute(statement.format(sql.Identifier(table)), (trip_id, state))
    return Done({"state": state})


async def airline(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """Book and cancel seats."""
    del attempt
    state = "booked" if isinstance(message, BookFlight) else "cancelled"
    return await _write(conn, "flight", message.trip_id, state)


async def hotel(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """Book and cancel rooms."""
    del attempt
    state = "booked" if isinstance(message, BookRoom) else "cancelled"
    return await _write(conn, "room", message.trip_id, state)


async def bank(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """Charge and refund cards; a card has its limit."""
    del attempt
    if isinstance(message, RefundCard):
        return await _write(conn, "card", message.trip_id, "refunded")
    if message.cents > CARD_LIMIT_CENTS:
        raise PermanentFailure("card_limit")
    return await _write(conn, "card", message.trip_id, "charged")


def build(clock: Clock | None = None) -> App:
    """The application, in real time if no clock is given."""
    made = App("trip", clock=clock, commands=commands)
    served: tuple[tuple[str, Any, tuple[type[Message], ...]], ...] = (
        ("airline", airline, (BookFlight, CancelFlight)),
        ("hotel", hotel, (BookRoom, CancelRoom)),
        ("bank", bank, (ChargeCard, RefundCard)),
    )
    for name, call, messages in served:
        made.add(Handler(name=name, messages=messages, effect=Effect.DATABASE, call=call))
    made.add_saga(TRIP)
    return made


app = build()
