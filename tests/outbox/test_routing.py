"""A new handler is given the past, once; a route is dropped with what waits behind it said."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog
from typer.testing import CliRunner

from outbox import Dead, Done, Order, Publication, Settled, Withdrawn, publish, queries_routes
from outbox.cli.frame import engine
from outbox.errors import ConfigurationError, HandlerMissing, OutboxError
from outbox.redrive import set_paused
from outbox.routing import OrderAtStake, StillWaiting, backfill, drop_route
from tests.outbox.shop import OrderPlaced, StockChanged, made, mailer

if TYPE_CHECKING:
    from outbox.routing import Backfilled, Dropped
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def auditor(**terms: Any) -> Any:
    return mailer(name="auditor", **terms)


async def filled(box: OutboxHarness, since: timedelta = 10 * DAY, **terms: Any) -> Backfilled:
    named: dict[str, Any] = {"since": box.clock.now() - since, "open_seconds_max": 0} | terms
    async with await psycopg.AsyncConnection.connect(box.relay.dsn) as conn:
        return await backfill(conn, box.app, "auditor", **named)


async def dropped(box: OutboxHarness, topic: str = "order.placed", **terms: Any) -> Dropped:
    async with await psycopg.AsyncConnection.connect(box.relay.dsn) as conn:
        return await drop_route(conn, box.app, topic, "mailer", actor="jo", **terms)


async def pause(box: OutboxHarness) -> None:
    async with box.relay.pool.connection() as conn:
        await set_paused(conn, handler="auditor", paused=True, actor="jo", why="backfill")


async def test_a_new_handler_is_given_what_it_never_had_and_nothing_twice(
    opened: Opened, rows: Rows
) -> None:
    old = await opened(mailer())
    await old.publish_many(*(Publication(message=OrderPlaced(order_id=n)) for n in range(5)))
    await old.publish(StockChanged(shelf="a", count=1))
    rows("update outbox.message set created_at = created_at - interval '2 days'")
    await old.publish(OrderPlaced(order_id=5))
    box = await opened(mailer(), auditor())
    await box.publish(OrderPlaced(order_id=6))  # it has this one already
    dry = await filled(box, dry_run=True)
    lately = await filled(box, since=HOUR)
    first = await filled(box)
    for number, lease in enumerate(await box.claim("auditor")):
        await box.settle(lease, Dead("refused") if number == 0 else Done())
    again = await filled(box)

    assert [one.sent for one in (dry, lately, first, again)] == [6, 1, 5, 0]
    assert rows(
        "select count(*), count(distinct message_id) from outbox.receipt where handler = 'auditor'"
    ) == [(7, 7)]


async def test_two_backfills_at_once_give_each_message_once(opened: Opened, rows: Rows) -> None:
    """The second waits for the first one's transaction, and sees what it has given."""
    old = await opened(mailer())
    await old.publish_many(*(Publication(message=OrderPlaced(order_id=n)) for n in range(5)))
    box = await opened(mailer(), auditor())

    both = await asyncio.gather(filled(box), filled(box))

    assert sorted(one.sent for one in both) == [0, 5]
    assert rows("select count(*) from outbox.delivery where handler = 'auditor'") == [(5,)]


async def test_an_ordered_handler_is_given_the_past_while_paused_and_keeps_order(
    opened: Opened,
) -> None:
    old = await opened(mailer())
    for number in range(3):
        await old.publish(OrderPlaced(order_id=number), key="a")
    box = await opened(mailer(), auditor(order=Order.KEYED))
    await box.publish(OrderPlaced(order_id=3), key="a")
    with pytest.raises(OrderAtStake, match="outbox pause auditor"):
        await filled(box)
    await pause(box)
    await filled(box)
    async with box.relay.pool.connection() as conn:
        await set_paused(conn, handler="auditor", paused=False, actor="jo", why="")
    run = await box.lane("auditor").claims.claim(10)

    assert [OrderPlaced.model_validate_json(row.payload).order_id for row in run] == [0, 1, 2, 3]


async def test_what_is_due_later_is_due_later_for_the_new_handler_too(
    opened: Opened, rows: Rows
) -> None:
    old = await opened(mailer())
    await old.publish(OrderPlaced(order_id=1), due_at=old.clock.now() + DAY)
    box = await opened(mailer(), auditor())
    await filled(box)

    assert rows("select count(distinct due_at), count(due_at) from outbox.delivery") == [(1, 2)]


async def test_what_is_parked_is_left_to_the_relay(opened: Opened, rows: Rows) -> None:
    nobody = await opened()
    await nobody.publish(OrderPlaced(order_id=1))
    box = await opened(auditor())
    given = await filled(box)
    await box.drain()

    assert given.sent == 0
    assert rows("select count(*) from outbox.receipt where handler = 'auditor'") == [(1,)]


async def test_a_publisher_of_before_the_route_is_told(opened: Opened) -> None:
    """It may commit a message without a delivery for the new handler; a second run gives it."""
    old = await opened(mailer())
    with psycopg.connect(old.relay.dsn) as publisher:
        publish(publisher, OrderPlaced(order_id=1))
        box = await opened(mailer(), auditor())
        meanwhile = await filled(box)
    afterwards = await filled(box)

    assert (meanwhile.sent, meanwhile.open_writers) == (0, True)
    assert afterwards.sent == 1


async def test_a_handler_that_is_not_there_cannot_be_given_anything(opened: Opened) -> None:
    box = await opened(mailer())

    with pytest.raises(ConfigurationError, match="there are mailer"):
        await filled(box)


async def test_a_route_with_something_waiting_is_dropped_only_on_request(
    opened: Opened, rows: Rows
) -> None:
    told: list[Settled] = []

    async def record(conn: Any, settled: Any) -> None:
        del conn
        told.extend(settled)

    box = await opened(mailer(record=record))
    for number in range(3):
        await box.publish(OrderPlaced(order_id=number))
    flying = await box.claim_one()
    with pytest.raises(StillWaiting, match="3 deliveries of"):
        await dropped(box)
    kept = rows("select count(*) from outbox.route")
    done = await dropped(box, withdraw=True)
    await box.settle(flying, Done())
    await box.publish(OrderPlaced(order_id=4))

    assert kept == [(1,)]
    assert (done.was_there, done.withdrawn, done.left) == (True, 2, 1)
    assert [one.outcome for one in told[:2]] == [Withdrawn("route_dropped")] * 2
    assert rows("select outcome, reason, detail ->> 'actor' from outbox.receipt order by id") == [
        ("withdrawn", "route_dropped", "jo"),
        ("withdrawn", "route_dropped", "jo"),
        ("done", None, None),
    ]
    assert rows("select topic from outbox.unrouted") == [("order.placed",)]


async def test_what_another_program_s_handler_waits_for_is_withdrawn_there(
    opened: Opened, rows: Rows
) -> None:
    """It alone can tell its `record`. Where nobody has the handler any more, nobody is told."""
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    rows("insert into outbox.relay values ('r', now(), now(), '{mailer}', null)")
    other = made(auditor())
    async with await psycopg.AsyncConnection.connect(box.relay.dsn) as conn:
        with pytest.raises(HandlerMissing, match="--app module:attribute"):
            await drop_route(conn, other, "order.placed", "mailer", actor="jo", withdraw=True)
        kept = rows("select count(*) from outbox.route"), rows("select * from outbox.receipt")
        rows("update outbox.relay set seen_at = now() - interval '1 hour'")
        done = await drop_route(conn, other, "order.placed", "mailer", actor="jo", withdraw=True)

    assert kept == ([(1,)], [])
    assert (done.was_there, done.withdrawn, done.left) == (True, 1, 0)


async def test_a_route_with_nothing_waiting_is_dropped(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())

    assert (await dropped(box)).was_there
    assert not (await dropped(box)).was_there
    assert rows("select * from outbox.route") == []


async def test_a_renamed_handler_is_found_with_what_waits_and_what_is_routed(
    opened: Opened,
) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    await box.publish(OrderPlaced(order_id=2), due_at=box.clock.now() + DAY)
    async with box.relay.pool.connection() as conn:
        mine = await queries_routes.find_strangers(conn, handlers=["mailer"])
        theirs = await queries_routes.find_strangers(conn, handlers=["post"])

    assert mine == []
    assert theirs == [queries_routes.Stranger("mailer", ["order.placed"], 2)]


async def test_a_handler_that_another_relay_has_is_no_stranger(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    rows("insert into outbox.relay values ('r', now(), now(), '{mailer}', null)")
    async with box.relay.pool.connection() as conn:
        assert await queries_routes.find_strangers(conn, handlers=["post"]) == []


def test_the_commands_say_what_they_did(database: str) -> None:
    app = made(mailer(), auditor())

    def outbox(*words: str) -> str:
        ran = CliRunner().invoke(engine, words, obj=app, env={"DATABASE_URL": database})
        structlog.reset_defaults()  # the command's log went to a stream that is closed by now
        if isinstance(ran.exception, OutboxError):
            return str(ran.exception)
        assert ran.exception is None, ran.exception
        return ran.stdout

    with psycopg.connect(database) as conn:
        conn.execute("insert into outbox.route (topic, handler) values ('order.placed', 'mailer')")
        publish(conn, OrderPlaced(order_id=1))
    since = ("--since", "2020-01-01T00:00:00Z")

    assert "would be given 1" in outbox("backfill", "auditor", *since, "--dry-run")
    assert "auditor was given 1" in outbox("backfill", "auditor", *since)
    assert '"sent": 0' in outbox("backfill", "auditor", *since, "--json")
    assert "has no zone" in outbox("backfill", "auditor", "--since", "2020-01-01")
    assert "is no instant" in outbox("backfill", "auditor", "--since", "lately")
    assert "auditor" in outbox("route", "list")
    drop = ("route", "drop", "order.placed", "auditor", "--actor", "jo")
    assert "1 deliveries of order.placed wait" in outbox(*drop)
    assert "this program still wants it" in outbox(*drop, "--withdraw")
    assert "has no route to auditor" in outbox(*drop)
    assert "deleted: 0 messages" in outbox("prune")
    assert '"dry_run": true' in outbox("prune", "--dry-run", "--json")
