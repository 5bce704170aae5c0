"""What publishing costs the caller: one message beside one insert, and many in one statement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from bench.drain import Measured
from bench.figures import Figure, ratios
from outbox import Publication, publish_many
from outbox import publish as publish_one

if TYPE_CHECKING:
    from typing import Any

    from bench.figures import Scale
    from bench.ground import Ground

_CALLS = 10


async def publish(ground: Ground, scale: Scale) -> list[Figure]:
    """A transaction that inserts one row, with and without a message, in turns."""
    bare: list[float] = []
    with_message: list[float] = []
    with ground.fresh() as dsn, psycopg.connect(dsn) as conn:
        _prepare(conn)
        for _ in range(scale.runs):
            one, other = _in_turns(conn, scale.transactions)
            bare.append(one)
            with_message.append(other)
    terms = {"transactions": scale.transactions, "clients": 1}
    plain = Figure("publish", "one row", "ms/transaction", tuple(bare), terms)
    ours = Figure("publish", "one row and a message", "ms/transaction", tuple(with_message), terms)
    return [plain, ours, ratios("with a message / bare", ours, plain)]


def _in_turns(conn: psycopg.Connection[Any], count: int) -> tuple[float, float]:
    """Milliseconds per transaction, bare and with a message; alternating, so a drift hits both."""
    bare = with_message = 0.0
    for number in range(count):
        began = time.perf_counter()
        _insert(conn, number)
        conn.commit()
        between = time.perf_counter()
        _insert(conn, number)
        publish_one(conn, Measured())
        conn.commit()
        bare += between - began
        with_message += time.perf_counter() - between
    return bare * 1000 / count, with_message * 1000 / count


async def publish_in_bulk(ground: Ground, scale: Scale) -> list[Figure]:
    """Messages per second through `publish_many`, one commit per call."""
    rates: list[float] = []
    with ground.fresh() as dsn, psycopg.connect(dsn) as conn:
        _prepare(conn)
        publications = [Publication(message=Measured()) for _ in range(scale.rows_per_call)]
        for _ in range(scale.runs):
            began = time.perf_counter()
            for _ in range(_CALLS):
                publish_many(conn, publications)
                conn.commit()
            rates.append(_CALLS * scale.rows_per_call / (time.perf_counter() - began))
    terms = {"messages_per_call": scale.rows_per_call, "calls": _CALLS, "clients": 1}
    return [Figure("publish_many", "messages", "messages/s", tuple(rates), terms)]


def _prepare(conn: psycopg.Connection[Any]) -> None:
    conn.execute("create table measured (id bigint generated always as identity, number integer)")
    conn.execute(
        "insert into outbox.route (topic, handler) values (%s, 'measured')",
        [Measured.declaration.topic],
    )
    conn.commit()


def _insert(conn: psycopg.Connection[Any], number: int) -> None:
    conn.execute("insert into measured (number) values (%s)", [number])
