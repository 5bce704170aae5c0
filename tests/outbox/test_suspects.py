"""P8, P2: suspects are tried by processes of their own, which delay and kill nobody."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import psycopg
from structlog.testing import capture_logs

from outbox import Attempt, Done, Outcome, Relay, publish
from outbox.suspects import DEATHS_MAX, Suspects, try_suspects
from tests.outbox.lonely import TRACE, WAIT_FOR, Crate, app
from tests.outbox.shop import SECOND, OrderPlaced, mailer
from tests.transport.scene import until

if TYPE_CHECKING:
    import pytest

    from outbox.lane import Lane
    from tests.outbox.conftest import Opened, Rows

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


async def test_an_outage_is_not_taken_for_the_death_of_a_suspects_process(
    opened: Opened, database: str, rows: Rows
) -> None:
    """It says that it lives when the database is back; else three outages bury a good message."""
    taken = AsyncExitStack()

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        for _ in range(relay.pool.max_size):
            await taken.enter_async_context(relay.pool.connection())
        relay.pool.timeout = 0.01
        return Done()

    box = await opened(mailer(call, lone_claims_max=1))
    relay = Relay(box.app, database)
    patience = relay.pool.timeout
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    box.advance(31 * SECOND)
    with capture_logs() as logs:
        trying = asyncio.create_task(try_suspects(relay, "mailer", at_most=1, stop=asyncio.Event()))
        await until(lambda: any(one["event"] == "suspects.database_failed" for one in logs))
        relay.pool.timeout = patience
        await taken.aclose()
        tried = await trying

    assert tried == 1
    assert rows("select lone_claims from outbox.delivery") == [(0,)]


async def test_a_process_that_has_just_ended_keeps_no_daemon_from_stopping() -> None:
    """Between its end and the turn of whoever waits for it there is nobody to be told."""
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await ended.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    async with Suspects(COMMAND) as suspects:
        suspects._processes["mailer"] = ended

    assert ended.returncode == 0


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


async def test_a_drain_survives_what_kills_and_ends_when_nothing_is_due(
    database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More handlers have suspects than processes may try them at once."""
    monkeypatch.setenv("DATABASE_URL", database)
    rows(TRACE)
    relay = Relay(app, database)
    async with relay.opened():
        publish_crates(database, "deadly", 1)
        for lane in relay.lanes.values():
            await left_by_a_dead_process(lane, rows)
    drain = await asyncio.create_subprocess_exec(
        *COMMAND[:-1], "relay", "--drain", stderr=asyncio.subprocess.PIPE
    )
    _, said = await drain.communicate()

    assert drain.returncode == 0
    assert b"0 deliveries tried, suspects by 3 processes of their own; nothing is due" in said
    assert len(rows(DONE, "slow")) == len(rows(DONE, "quick")) == 1
    assert rows("select handler, lone_claims from outbox.delivery") == [("deadly", 1)]


async def test_a_drain_whose_processes_do_not_start_ends_and_says_what_it_left(
    database: str, rows: Rows
) -> None:
    """Its suspects are still to be tried, so that it would begin one after the other for ever."""
    relay = Relay(app, database)
    async with relay.opened():
        publish_crates(database, "quick", 1)
        await left_by_a_dead_process(relay.lanes["quick"], rows)
        with capture_logs() as logs:
            async with Suspects([sys.executable, "-c", "raise SystemExit(2)"]) as suspects:
                tried = await suspects.drain(relay, asyncio.Event())

    assert tried == 2  # those of the other two handlers
    assert suspects.started == DEATHS_MAX
    assert [one["handler"] for one in logs if one["event"] == "suspects.left"] == ["quick"]
    assert rows("select handler, lone_claims from outbox.delivery") == [("quick", 0)]


async def test_a_drain_that_is_stopped_waits_only_for_what_is_being_tried(
    database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    rows(TRACE)
    relay, stop = Relay(app, database, only=["slow"]), asyncio.Event()
    async with relay.opened(), await psycopg.AsyncConnection.connect(database) as holds:
        await holds.execute("select pg_advisory_lock(%s)", (WAIT_FOR,))
        publish_crates(database, "slow", 2)
        await left_by_a_dead_process(relay.lanes["slow"], rows)
        async with Suspects(COMMAND) as suspects:
            drain = asyncio.create_task(suspects.drain(relay, stop))
            await until(lambda: len(rows("select pid from trace")) == 1)
            stop.set()
            tried = await drain
            still_tried = len(rows(DONE, "slow")) == 0
            leaving = asyncio.create_task(suspects.__aexit__(None, None, None))
            await asyncio.sleep(0)
            await holds.execute("select pg_advisory_unlock(%s)", (WAIT_FOR,))
            await leaving

    assert (tried, still_tried) == (0, True)
    assert len(rows(DONE, "slow")) == 1
