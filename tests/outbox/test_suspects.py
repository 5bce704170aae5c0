"""P8, P2: suspects are tried by processes of their own, which delay and kill nobody."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import psycopg

from outbox import Relay, publish
from outbox.suspects import Suspects
from tests.outbox.lonely import TRACE, WAIT_FOR, Crate, app
from tests.transport.scene import until

if TYPE_CHECKING:
    import pytest

    from outbox.lane import Lane
    from tests.outbox.conftest import Rows

COMMAND = [sys.executable, "-m", "outbox", "--app", "tests.outbox.lonely:app", "suspects"]
DONE = "select handler from outbox.receipt where outcome = 'done' and handler = %s"


async def left_by_a_dead_process(lane: Lane, rows: Rows) -> None:
    """Claim what is due and let the leases be over."""
    assert await lane.claims.claim(10)
    let_run_out(rows)


def let_run_out(rows: Rows) -> None:
    rows("update outbox.delivery set lease_until = now() where lease_token is not null")
    rows("update outbox.lease set until = now()")


def publish_crates(dsn: str, to: str, count: int) -> None:
    with psycopg.connect(dsn) as conn:
        for _ in range(count):
            publish(conn, Crate(to=to))


async def test_a_suspect_that_takes_its_time_keeps_nobody_waiting(
    database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is under way in another process while other handlers deliver; a stop lets it end."""
    monkeypatch.setenv("DATABASE_URL", database)
    rows(TRACE)
    relay = Relay(app, database)
    async with relay.opened(), await psycopg.AsyncConnection.connect(database) as holds:
        await holds.execute("select pg_advisory_lock(%s)", (WAIT_FOR,))
        publish_crates(database, "slow", 2)
        slow, quick = relay.lanes["slow"], relay.lanes["quick"]
        await left_by_a_dead_process(slow, rows)
        async with Suspects(COMMAND) as suspects:
            slow.suspects = suspects
            assert await slow.clean_up() == 0
            await until(lambda: len(rows("select pid from trace")) == 1)
            delivered = await quick.run_once()
            meanwhile: Any = rows(DONE, "slow")
            leaving = asyncio.create_task(suspects.__aexit__(None, None, None))
            await asyncio.sleep(0)  # it has told the process to begin no other
            await holds.execute("select pg_advisory_unlock(%s)", (WAIT_FOR,))
            await leaving

    assert delivered == 2
    assert meanwhile == []
    assert rows("select count(*), bool_and(pid <> %s) from trace", os.getpid()) == [(1, True)]
    assert len(rows(DONE, "slow")) == 1  # what was under way has ended well, no other was begun
    assert rows("select lone_claims from outbox.delivery where handler = 'slow'") == [(0,)]


async def test_a_suspect_that_kills_its_process_kills_nothing_else(
    database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    rows(TRACE)
    relay = Relay(app, database)
    async with relay.opened():
        publish_crates(database, "deadly", 1)
        deadly = relay.lanes["deadly"]
        await left_by_a_dead_process(deadly, rows)
        async with Suspects(COMMAND) as suspects:
            deadly.suspects = suspects
            await deadly.clean_up()
            await until(lambda: len(rows("select pid from trace")) == 1)
        counted = rows("select lone_claims from outbox.delivery where handler = 'deadly'")
        let_run_out(rows)
        await deadly.clean_up()

    assert counted == [(1,)]
    assert rows("select reason from outbox.dead_letter") == [("poison",)]
