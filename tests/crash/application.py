"""What the process to be killed runs: each effect once, and a receiver on the loopback."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outbox import App, Attempt, Done, Effect, Handler, Message, Outcome, Suppressed
from outbox.testing import ShiftedClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

EFFECT_TABLE = """
create table effect (delivery_id bigint not null, constraint effect_once unique (delivery_id))
"""


class Parcel(Message, topic="parcel.ready"):
    """Three handlers take it. One that is deadly ends the process that touches it."""

    number: int
    deadly: bool = False


def touch(parcel: Parcel) -> None:
    """Die at once, as by a fault in native code, if the parcel is deadly."""
    if parcel.deadly:
        os._exit(9)


async def write(parcel: Parcel, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """One row per delivery, in the settling transaction."""
    touch(parcel)
    await conn.execute("insert into effect values (%s)", (attempt.delivery_id,))
    return Done()


async def prepare(
    conn: AsyncConnection[Any], items: Sequence[tuple[Parcel, Attempt]]
) -> dict[int, Any]:
    """Look at every parcel before any call."""
    del conn
    for parcel, _ in items:
        touch(parcel)
    return {}


def application(port: int, ahead: timedelta, handlers: Sequence[str]) -> App:
    """The application, in a time that is `ahead`, with some of its handlers."""

    async def call(parcel: Parcel, attempt: Attempt) -> Outcome:
        del parcel
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{attempt.handler} {attempt.delivery_id}\n".encode())
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return Done() if answer == b"taken\n" else Suppressed("hung_up")

    app = App("crash", clock=ShiftedClock(ahead))
    for name, effect in (
        ("write", Effect.DATABASE),
        ("call", Effect.IDEMPOTENT),
        ("push", Effect.AMBIGUOUS),
    ):
        if name not in handlers:
            continue
        app.add(
            Handler(
                name=name,
                messages=(Parcel,),
                effect=effect,
                call=write if effect is Effect.DATABASE else call,
                timeout=timedelta(seconds=5),
                batch_max=20,
                lone_claims_max=1,
                prepare=prepare if effect is Effect.AMBIGUOUS else None,
            )
        )
    return app
