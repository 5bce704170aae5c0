"""One of many runners of two sagas, until all is done: `python -m tests.races.saga_worker DSN`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from outbox import (
    App,
    Attempt,
    Decision,
    Done,
    Effect,
    Handler,
    Message,
    Order,
    Outcome,
    Publication,
    Relay,
    Saga,
    SagaState,
)

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

TABLES = """
create table light (subject text primary key, version bigint not null default 0);
create table turn (
    subject text, version bigint, delivery_id bigint not null, by text not null,
    constraint one_serial_history primary key (subject, version),
    constraint turned_once unique (delivery_id)
);
"""


class Pressed(Message, topic="race.pressed"):
    """Somebody wants the light of a subject turned."""

    subject: str


class Turn(Message, topic="race.turn"):
    """A saga's command."""

    subject: str
    by: str
    count: int


class Presses(SagaState):
    """How often it was pressed."""

    count: int = 0


def counting(name: str) -> Saga[Presses]:
    """One of the two sagas that race for a subject: it counts, and turns the light each time."""

    def react(state: Presses, message: Pressed, *, now: datetime) -> Decision[Presses]:
        del now
        count = state.count + 1
        turn = Turn(subject=message.subject, by=name, count=count)
        return Decision(
            Presses(count=count), publish=(Publication(message=turn, key=message.subject),)
        )

    return Saga(
        name=name, state=Presses, react=react, correlate="subject",
        starts={Pressed: lambda _: Presses()},
    )  # fmt: skip


async def turn(message: Turn, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """Turn the light under its row's lock; the table refuses two turns of one version."""
    await conn.execute(
        "insert into light (subject) values (%s) on conflict do nothing", [message.subject]
    )
    await conn.execute(
        "with turned as (update light set version = version + 1 where subject = %s"
        " returning version)"
        " insert into turn select %s, version, %s, %s from turned",
        [message.subject, message.subject, attempt.delivery_id, message.by],
    )
    return Done()


def application() -> App:
    """Two sagas of the same messages, and the one whom both command."""
    app = App("race of sagas")
    app.add_saga(counting("left"))
    app.add_saga(counting("right"))
    app.add(
        Handler(
            name="light",
            messages=(Turn,),
            effect=Effect.DATABASE,
            call=turn,
            order=Order.KEYED,
        )
    )
    return app


async def main(dsn: str) -> None:
    relay = Relay(application(), dsn)
    async with relay.opened():
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await asyncio.to_thread(sys.stdin.readline)
        await relay.drain()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
