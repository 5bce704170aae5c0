"""What publishing costs the caller: one beside one insert, many beside COPY, eight at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from bench import trial
from bench.contenders import OURS, ours
from bench.environments import ROOT
from bench.figures import Figure, Gathered
from bench.ground import statement
from bench.peers.harness import payload
from bench.peers.peer_outbox import Measured
from outbox import Publication, publish_many
from outbox import publish as publish_one
from outbox.publication import batches_of
from outbox.queries_publish import PUBLISH_MESSAGES, execute_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.figures import Scale
    from bench.ground import Ground

_AT_ONCE = 1_000
_PER_SECOND = "messages/s"
_A_TRANSACTION = "ms/transaction"
_BARE = "one row"


async def publish(ground: Ground, scale: Scale) -> list[Figure]:
    """A transaction that inserts one row, alone and with something more in it, in turns.

    *a message* is a publish; *a message in its statement* is `outbox.publish` called by the insert
    itself, without a round trip of its own. *a select* and *a row of an indexed table* are what no
    publish that answers before the commit can be cheaper than: a round trip, and one of the rows
    it writes.
    """
    got = Gathered("publish", transactions=scale.transactions, clients=1)
    with _routed(ground) as dsn, psycopg.connect(dsn) as conn:
        conn.execute("create table measured (id bigint generated always as identity, number int)")
        conn.execute("create table indexed (id bigint generated always as identity primary key)")
        conn.commit()
        message = Measured(**payload(1))
        parts: dict[str, list[Callable[[], object]]] = {
            _BARE: [lambda: _insert(conn)],
            "a message": [lambda: _insert(conn), lambda: publish_one(conn, message)],
            "a message in its statement": [lambda: _insert_and_publish(conn, message)],
            "a select": [lambda: _insert(conn), lambda: conn.execute("select 1")],
            "a row of an indexed table": [
                lambda: _insert(conn),
                lambda: conn.execute("insert into indexed default values"),
            ],
        }
        _in_turns(conn, scale.transactions // 5, parts)  # caches are filled
        for _ in range(max(3, scale.runs)):
            for name, took in _in_turns(conn, scale.transactions, parts).items():
                got.add(name if name == _BARE else f"one row and {name}", took, _A_TRANSACTION)
    shares = [
        figure
        for name in parts
        if name != _BARE
        for figure in got.ratio(f"with {name} / bare", f"one row and {name}", _BARE)
    ]
    return got.figures(*shares)


async def publish_in_bulk(ground: Ground, scale: Scale) -> list[Figure]:
    """`publish_many`, one route, beside COPY of the same rows into the same tables.

    COPY is given the rows as a stream of bytes, every table in one transaction; making the messages
    is not part of it, as with `publish_many` making the publications is not. *encoded before* are
    the statements of `publish_many` alone, whose payloads were made before the clock ran.
    """
    count = scale.rows_in_bulk
    got = Gathered("publish_many", messages=count, messages_per_call=_AT_ONCE, clients=1)
    publications = [Publication(message=Measured(**payload(number))) for number in range(count)]
    for _ in range(scale.runs):
        with _routed(ground) as dsn, psycopg.connect(dsn) as conn:
            began = time.perf_counter()
            for first in range(0, count, _AT_ONCE):
                publish_many(conn, publications[first : first + _AT_ONCE])
                conn.commit()
            got.add("publish_many", count / (time.perf_counter() - began), _PER_SECOND)
            copied = _copied_out(conn, count)
        with _routed(ground) as dsn, psycopg.connect(dsn) as conn:
            batches = batches_of(publications)
            began = time.perf_counter()
            for params in batches:
                execute_sync(conn, PUBLISH_MESSAGES, params)
                conn.commit()
            got.add("encoded before", count / (time.perf_counter() - began), _PER_SECOND)
        with _routed(ground) as dsn, psycopg.connect(dsn) as conn:
            began = time.perf_counter()
            for table, rows in copied.items():
                _copy_in(conn, table, rows)
            conn.commit()
            rate = count / (time.perf_counter() - began)
            got.add("COPY into the same tables", rate, _PER_SECOND, tables=sorted(copied))
    copy = "COPY into the same tables"
    return got.figures(
        *got.ratio("publish_many / COPY", "publish_many", copy),
        *got.ratio("encoded before / COPY", "encoded before", copy),
    )


async def committers(ground: Ground, scale: Scale) -> list[Figure]:
    """Eight processes publish one message per transaction beside a relay, which asks for the bell.

    *wake-ups on*: the relay as it comes, which asks publishers to ring while it sleeps; *off*: one
    that looks by polling alone. Both deliver meanwhile. *every commit rings*: nobody delivers, a
    relay is registered as sleeping for ever, which none ever does; it tells what the bell costs
    where it is not silenced, beside the same with nobody asleep. Turns follow each other within
    one run of the eight.
    """
    seconds = scale.committing_seconds
    got = Gathered("committers", clients=scale.committers, seconds_a_turn=seconds)
    with (
        _routed(ground) as dsn,
        psycopg.connect(dsn, autocommit=True) as bell,
        _committing(dsn, scale.committers) as workers,
    ):
        _turn(workers, seconds)  # caches fill
        for turn in range(4 * scale.runs):
            waking = turn % 4 in {1, 2}  # off, on, on, off: a drift hits both
            bell.execute(statement("forget_relay"))
            bell.execute("unlisten outbox")
            if waking:
                bell.execute(statement("sleep_relay"))
                bell.execute("listen outbox")
            rate = _turn(workers, seconds)
            got.add("every commit rings" if waking else "nobody asleep", rate, _PER_SECOND)
            bell.execute(statement("forget_relay"))
            relay = ours("relay", effect="database", wake_ups=int(waking))
            with trial.working(relay, dsn):
                rate = _turn(workers, seconds)
            got.add(f"wake-ups {'on' if waking else 'off'}", rate, _PER_SECOND)
    return got.figures(
        *got.ratio("wake-ups on / off", "wake-ups on", "wake-ups off"),
        *got.ratio("every commit rings / nobody asleep", "every commit rings", "nobody asleep"),
    )


def commit_many(dsn: str) -> None:
    """One of the committers: publish for as long as each line of standard input says."""
    message = Measured(**payload(1))
    with psycopg.connect(dsn) as conn:
        for line in sys.stdin:
            count, deadline = 0, time.monotonic() + float(line)
            while time.monotonic() < deadline:
                publish_one(conn, message)
                conn.commit()
                count += 1
            print(json.dumps(count), flush=True)


@contextmanager
def _committing(dsn: str, clients: int) -> Iterator[list[subprocess.Popen[str]]]:
    program = [sys.executable, "-m", "bench.scenarios.publishing", dsn]
    workers = [
        subprocess.Popen(
            program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(clients)
    ]
    try:
        _turn(workers, 0.1)  # all have started when all have answered
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _turn(workers: Sequence[subprocess.Popen[str]], seconds: float) -> float:
    """Messages per second of all of them together."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{seconds}\n")
        worker.stdin.flush()
    count = 0
    for worker in workers:
        assert worker.stdout is not None
        count += int(worker.stdout.readline())
    return count / seconds


@contextmanager
def _routed(ground: Ground) -> Iterator[str]:
    """A database in which one handler takes what is published."""
    with ground.empty() as dsn:
        trial.call(OURS["ours database"], dsn, "setup")
        yield dsn


def _in_turns(
    conn: psycopg.Connection[Any], count: int, parts: Mapping[str, Sequence[Callable[[], object]]]
) -> dict[str, float]:
    """Milliseconds per transaction of each kind; a drift hits all of them."""
    took = dict.fromkeys(parts, 0.0)
    for _ in range(count):
        for name, steps in parts.items():
            began = time.perf_counter()
            for step in steps:
                step()
            conn.commit()
            took[name] += time.perf_counter() - began
    return {name: seconds * 1000 / count for name, seconds in took.items()}


def _insert(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into measured (number) values (%s)", [1])


def _insert_and_publish(conn: psycopg.Connection[Any], message: Measured) -> None:
    topic, text = message.declaration.topic, message.model_dump_json()
    conn.execute(statement("insert_and_publish"), {"number": 1, "topic": topic, "payload": text})


def _copied_out(conn: psycopg.Connection[Any], count: int) -> dict[str, list[bytes]]:
    """The rows of every table of the engine that took at least one row per message."""
    names = [row[0] for row in conn.execute(statement("list_tables")).fetchall()]
    found: dict[str, list[bytes]] = {}
    for name in names:
        table = sql.Identifier("outbox", name)
        query = sql.SQL("copy (select * from {}) to stdout (format binary)").format(table)
        counted = sql.SQL("select count(*) from {}").format(table)
        row = conn.execute(counted).fetchone()
        if row is None or row[0] < count:
            continue
        with conn.cursor() as cursor, cursor.copy(query) as copy:
            found[name] = [bytes(block) for block in copy]
    conn.commit()
    # a table is copied before those that refer to it: messages first
    return dict(sorted(found.items(), key=lambda one: one[0] != "message"))


def _copy_in(conn: psycopg.Connection[Any], name: str, rows: list[bytes]) -> None:
    query = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier("outbox", name))
    blocks = b"".join(rows)
    with conn.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(blocks)


if __name__ == "__main__":
    commit_many(sys.argv[1])
