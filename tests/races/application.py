"""What the racing processes run: three ways of ordering, and a table that catches two at once."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection

from outbox import App, Attempt, Done, Effect, Handler, Message, Order, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TABLES = """
create table effect (
    id bigint generated always as identity primary key, handler text not null,
    delivery_id bigint not null, key text, sequence bigint,
    constraint effect_once unique (delivery_id)
);
create table flying (handler text, key text, constraint one_at_a_time primary key (handler, key));
create table shelf (key text primary key, version bigint not null);
insert into shelf select 'shelf:' || n, 0 from generate_series(1, 4) as n;
"""


class Counted(Message, topic="race.counted"):
    """Nobody minds its order."""

    number: int


class Moved(Message, topic="race.moved"):
    """Its shelf's version is its sequence."""

    number: int


EFFECT = "insert into effect (handler, delivery_id, key, sequence) values (%s, %s, %s, %s)"


async def write(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """One row per delivery, in the settling transaction."""
    del message
    facts = (attempt.handler, attempt.delivery_id, attempt.key, attempt.sequence)
    await conn.execute(EFFECT, facts)
    return Done()


def application(dsn: str) -> App:
    """A fresh application; its outside calls write on a connection of their own."""
    outside: list[AsyncConnection[Any]] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            outside.append(conn)
            yield

    async def call(message: Any, attempt: Attempt) -> Outcome:
        """Be seen in flight: a second call for the key meets a unique violation and dies of it."""
        (conn,) = outside
        mine = (attempt.handler, attempt.key)
        await conn.execute("insert into flying values (%s, %s)", mine)
        await write(message, attempt, conn)
        await conn.execute("delete from flying where handler = %s and key = %s", mine)
        return Done()

    app = App("race", lifespan=lifespan)
    seconds = timedelta(seconds=60)  # a loaded machine must not lose a lease
    for name, message, order in (
        ("counted", Counted, Order.NONE),
        ("ordered", Moved, Order.KEYED),
        ("ordered_out", Moved, Order.KEYED),
        ("newest_out", Moved, Order.NEWEST),
    ):
        out = name.endswith("_out")
        app.add(
            Handler(
                name=name,
                messages=(message,),
                effect=Effect.IDEMPOTENT if out else Effect.DATABASE,
                call=call if out else write,
                order=order,
                timeout=seconds,
                batch_max=20,
            )
        )
    return app
