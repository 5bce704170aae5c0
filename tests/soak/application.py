"""What the soak runs: every effect and order at once, calls that fail, and publishers that race."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg

from outbox import (
    App,
    Attempt,
    Done,
    Effect,
    Exponential,
    Handler,
    Message,
    Order,
    Outcome,
    OutcomeUnknown,
    Publication,
    RetryPolicy,
    TransientFailure,
    publish,
    publish_many,
)

if TYPE_CHECKING:
    from threading import Event

    from psycopg import AsyncConnection

SHELVES, PLAIN = 12, 3
FATAL_SHARE, FATAL_CLAIMS = 0.02, 2
"""Of a publisher's transactions so many bring a fatal message, which is tried alone so often."""
PORT, TIMEOUT_SECONDS = "SOAK_PORT", "SOAK_TIMEOUT_SECONDS"
"""By which a process that tries suspects is told what a relay is told by its parent."""

BACKLOG_MAX, PAUSE_SECONDS = 1_000, 0.05
"""Publishers wait while so many deliveries do, and a moment after each transaction."""

TABLES = f"""
create table effect (
    id bigint generated always as identity, handler text not null, delivery_id bigint not null,
    key text, position bigint not null
);
create index on effect (delivery_id);
create table shelf (key text primary key, version bigint not null);
insert into shelf select 'shelf:' || n, 0 from generate_series(1, {SHELVES}) as n;
create table sale (number bigint primary key);
"""


class Sold(Message, topic="soak.sold"):
    """In no order; its first `fails` attempts fail."""

    number: int
    fails: int = 0


class Moved(Message, topic="soak.moved"):
    """Its shelf's version is its sequence."""

    number: int
    fails: int = 0


class Fatal(Message, topic="soak.fatal"):
    """Kills the process it is tried in; one that is not `always` spares those that are alone."""

    number: int
    always: bool


class Contested(Message, topic="soak.contested", dedup_window=timedelta(days=1)):
    """Every publisher publishes it."""

    number: int


# handler -> what it takes, and its terms
HANDLERS: dict[str, tuple[tuple[type[Message], ...], dict[str, Any]]] = {
    "written": ((Sold, Contested), {"effect": Effect.DATABASE, "batch_max": 20}),
    "called": ((Sold,), {"effect": Effect.IDEMPOTENT, "concurrency": 5}),
    "pushed": ((Sold,), {"effect": Effect.AMBIGUOUS, "concurrency": 5}),
    "kept": ((Moved,), {"effect": Effect.DATABASE, "order": Order.KEYED, "batch_max": 20}),
    "shown": ((Moved,), {"effect": Effect.IDEMPOTENT, "order": Order.NEWEST, "concurrency": 5}),
    "killed": ((Fatal,), {"effect": Effect.IDEMPOTENT, "lone_claims_max": FATAL_CLAIMS}),
}


async def write(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """A row in the settling transaction."""
    place = attempt.message_id if attempt.sequence is None else attempt.sequence
    await conn.execute(
        "insert into effect (handler, delivery_id, key, position) values (%s, %s, %s, %s)",
        (attempt.handler, attempt.delivery_id, attempt.key, place),
    )
    _fail(message, attempt)
    return Done()


def _fail(message: Any, attempt: Attempt) -> None:
    if attempt.number <= getattr(message, "fails", 0):
        raise TransientFailure("told_to_fail")


def application(port: int, timeout: timedelta, *, alone: bool = False) -> App:
    """The application; `port` is the receiver's, `timeout` decides how long a lease is.

    `alone`: it is that of a process that tries suspects.
    """

    async def die(message: Fatal, attempt: Attempt) -> Outcome:
        del attempt
        if message.always or not alone:
            os.kill(os.getpid(), signal.SIGKILL)
        return Done()

    async def call(message: Any, attempt: Attempt) -> Outcome:
        _fail(message, attempt)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise TransientFailure("unreachable") from error
        try:
            writer.write(f"{attempt.handler} {attempt.delivery_id}\n".encode())
            answer = await reader.readline()
        except OSError as error:
            raise OutcomeUnknown("hung_up") from error
        finally:
            writer.close()
        match answer:
            case b"taken\n":
                return Done()
            case b"busy\n":
                raise TransientFailure("busy")
            case _:
                raise OutcomeUnknown("hung_up")

    app = App("soak")
    retry = RetryPolicy(
        attempts_max=10_000,
        backoff=Exponential(first=timedelta(seconds=0.1), cap=timedelta(seconds=2)),
    )
    for name, (messages, terms) in HANDLERS.items():
        inside = terms["effect"] is Effect.DATABASE
        how = die if name == "killed" else write if inside else call
        patience = {"lone_claims_max": 20} | terms
        app.add(
            Handler(
                name=name, messages=messages, call=how, timeout=timeout, retry=retry, **patience
            )
        )
    return app


class Publisher:
    """Sells and moves things until it is told to stop: a fifth of its transactions roll back.

    `fatal`: now and then it publishes what kills.
    """

    def __init__(self, dsn: str, index: int, life: int, seed: int, *, fatal: bool) -> None:
        self._dsn, self._index, self._life, self._fatal = dsn, index, life, fatal
        self._random = Random(f"{seed}:{index}:{life}")  # noqa: S311 - a seed, not a secret
        self._count = 0

    def run(self, stop: Event) -> None:
        """Publish; whatever happens to the connection, take another one."""
        while not stop.is_set():
            try:
                with psycopg.connect(self._dsn, connect_timeout=5) as conn:
                    while not stop.is_set():
                        self._sell(conn)
                        stop.wait(PAUSE_SECONDS)
                        if self._count % 20 == 0:
                            self._wait_while_crowded(conn, stop)
            except psycopg.OperationalError:
                stop.wait(0.2)

    def _sell(self, conn: psycopg.Connection[Any]) -> None:
        random = self._random
        self._count += 1
        number = (self._index * 10_000 + self._life) * 1_000_000 + self._count
        key = f"shelf:{random.randint(1, SHELVES)}"
        moved = conn.execute(
            "update shelf set version = version + 1 where key = %s returning version", (key,)
        ).fetchone()
        assert moved is not None, "every shelf is there"
        conn.execute("insert into sale values (%s)", (number,))
        fails = random.choice((0, 0, 0, 0, 1, 2))
        publish(conn, Moved(number=number, fails=fails), key=key, sequence=moved[0])
        later = datetime.now(UTC) + timedelta(seconds=random.random() * 3)
        publish_many(
            conn,
            [
                Publication(
                    message=Sold(number=number, fails=random.choice((0, 0, 0, 1))),
                    due_at=later if random.random() < 0.3 else None,
                )
                for _ in range(PLAIN)
            ],
        )
        second = int(time.time() * 3)  # the same key as everybody else in this moment
        publish(conn, Contested(number=second), dedup_key=f"contested:{second}")
        if self._fatal and random.random() < FATAL_SHARE:
            publish(conn, Fatal(number=number, always=random.random() < 0.5))
        if self._count % 5 == 0:
            conn.rollback()
        else:
            conn.commit()

    @staticmethod
    def _wait_while_crowded(conn: psycopg.Connection[Any], stop: Event) -> None:
        crowd = "select count(*) > %s from outbox.delivery where unknown_at is null"
        while not stop.is_set():
            row = conn.execute(crowd, (BACKLOG_MAX,)).fetchone()
            conn.rollback()
            stop.wait(0.2)
            if row == (False,):
                return
