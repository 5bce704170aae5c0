"""A relay of the trip is killed in the middle of compensating; the next one finishes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from examples.trip.commands import TABLES
from examples.trip.messages import TripOrdered
from outbox import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

ROOT = Path(__file__).parents[3]
LOCK_SECONDS_MAX = 60


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(TABLES)
        yield dsn


def relay(dsn: str, *options: str) -> subprocess.Popen[bytes]:
    """A real relay of the example, as anybody would start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "outbox", "--app", "examples.trip:app", "relay", *options],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": dsn},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until_blocked(conn: psycopg.Connection[Any], by: int) -> None:
    """Return once somebody's statement waits for a lock that the session `by` holds.

    Each look is itself a wait in the database, so nothing here sleeps.
    """
    for _ in range(LOCK_SECONDS_MAX * 20):
        found = conn.execute(
            "select pg_sleep(0.05), exists (select from pg_stat_activity"
            " where %s = any(pg_blocking_pids(pid)))",
            [by],
        ).fetchone()
        if found is not None and found[1]:
            return
    pytest.fail("nobody came to wait for the lock")


@pytest.mark.slow
def test_killed_in_the_middle_of_compensating_it_finishes_after_a_restart(dsn: str) -> None:
    """The room is given back, the airline is at work on the flight when the process dies."""
    with (
        psycopg.connect(dsn) as holder,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        with psycopg.connect(dsn) as publisher:  # unrouted until a relay starts
            publish(publisher, TripOrdered(trip_id=7, cents=100_001))
        first = relay(dsn, "--drain", "--only", "trip,airline,hotel")
        assert first.wait(60) == 0  # booked so far; the bank has not been asked
        # whoever writes the cancelled flight waits for this row, in its own transaction
        holder.execute("select * from flight where trip_id = 7 for update")
        killed = relay(dsn)
        try:
            wait_until_blocked(conn, holder.info.backend_pid)
        finally:
            killed.send_signal(signal.SIGKILL)
            killed.wait(60)
        standing = conn.execute(
            "select state ->> 'phase', state ->> 'at', state -> 'undone' from outbox.saga"
        ).fetchall()
        holder.rollback()
        # its lease would run out by itself in 30 s; nobody waits for that here
        conn.execute("update outbox.delivery set lease_until = now() where lease_token is not null")
        conn.execute("update outbox.lease set until = now()")
        conn.execute("update outbox.key_lease set until = now()")
        last = relay(dsn, "--drain")
        assert last.wait(60) == 0

        assert standing == [("undoing", "flight", ["room"])]
        ended = conn.execute("select state ->> 'phase', ended_at is not null from outbox.saga")
        assert ended.fetchall() == [("compensated", True)]
        booked = conn.execute("select state from flight union all select state from room")
        assert booked.fetchall() == [("cancelled",), ("cancelled",)]
        assert conn.execute("select * from card").fetchall() == []
        # each undo was published once, whoever died
        assert conn.execute(
            "select topic, count(*) from outbox.message where topic like '%.cancel'"
            " group by topic order by topic"
        ).fetchall() == [("flight.cancel", 1), ("room.cancel", 1)]
