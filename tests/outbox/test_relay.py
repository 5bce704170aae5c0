"""The daemon: it works while told to, wakes at the bell, and leaves nothing leased behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from outbox import (
    Answer,
    App,
    Attempt,
    Done,
    Effect,
    Message,
    Outcome,
    Probe,
    Relay,
    UnknownPolicy,
    VirtualClock,
    publish,
)
from outbox.errors import HandlerInvalid, MessageClassInvalid
from outbox.handler import Handler
from outbox.testing import OutboxHarness
from tests.outbox.shop import SECOND, OrderPlaced, count_order, made, mailer, nothing
from tests.transport.scene import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.outbox.conftest import Rows


class Pulse:
    """A handler that tells when it was called, and answers when it may."""

    def __init__(self, *, free: bool = True) -> None:
        self.called, self.may_end = asyncio.Event(), asyncio.Event()
        self.seen = 0
        if free:
            self.may_end.set()

    async def __call__(self, message: Any, attempt: Attempt, *args: Any) -> Outcome:
        del message, attempt, args
        self.seen += 1
        self.called.set()
        await self.may_end.wait()
        return Done()


@asynccontextmanager
async def running(app: App, dsn: str) -> AsyncIterator[tuple[Relay, asyncio.Event]]:
    """A relay at work; it has stopped when the block is left."""
    relay, stop = Relay(app, dsn), asyncio.Event()
    async with relay.opened():
        work = asyncio.create_task(relay.run(stop))
        try:
            yield relay, stop
        finally:
            stop.set()
            await work


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_running_relay_delivers_what_is_published(
    effect: Effect, database: str, rows: Rows
) -> None:
    pulse = Pulse()
    app = App("shop")
    app.add(mailer(pulse, effect=effect))
    async with running(app, database):
        with psycopg.connect(database) as conn:
            publish(conn, OrderPlaced(order_id=1))
        async with asyncio.timeout(20):
            await pulse.called.wait()

    assert rows("select outcome from outbox.receipt") == [("done",)]
    assert rows("select * from outbox.relay") == []


@pytest.mark.parametrize("effect", [Effect.DATABASE, Effect.AMBIGUOUS])
async def test_a_stop_finishes_what_runs_and_leaves_no_lease(
    effect: Effect, database: str, rows: Rows
) -> None:
    pulse = Pulse(free=False)
    app = App("shop")
    app.add(mailer(pulse, effect=effect, concurrency=2))
    with psycopg.connect(database) as conn:
        for number in range(3):
            publish(conn, OrderPlaced(order_id=number))
    async with running(app, database) as (_, stop):
        async with asyncio.timeout(20):
            await pulse.called.wait()
        stop.set()
        pulse.may_end.set()

    assert rows("select count(*) from outbox.delivery where lease_token is not null") == [(0,)]
    assert rows("select count(*) from outbox.receipt where outcome <> 'done'") == [(0,)]
    assert pulse.seen == rows("select count(*) from outbox.receipt")[0][0]


async def test_questions_that_cannot_be_asked_keep_nothing_from_being_delivered(
    database: str, rows: Rows
) -> None:
    """A statement that the database refuses ends a look, and not the relay (P8)."""

    async def ask(message: Message, attempt: Attempt) -> Answer:
        del message, attempt
        return Answer.CANNOT_KNOW

    pulse, terms = Pulse(), {"unknown": UnknownPolicy.PROBE, "probe": Probe(ask=ask)}
    app = App("shop")
    app.add(mailer(pulse, effect=Effect.AMBIGUOUS, **terms))
    rows("alter table outbox.question rename to question_away")
    try:
        with capture_logs() as logs:
            async with running(app, database):
                await until(lambda: "question.look_failed" in {one["event"] for one in logs})
                rows("""select outbox.publish('order.placed', '{"order_id": 1}')""")
                async with asyncio.timeout(20):
                    await pulse.called.wait()
    finally:
        rows("alter table outbox.question_away rename to question")

    assert rows("select outcome from outbox.receipt") == [("done",)]


async def test_a_slow_handler_delays_no_other(database: str, rows: Rows) -> None:
    """P8: one is stuck in its calls, the other goes on."""
    stuck, other = Pulse(free=False), Pulse()
    app = App("shop")
    app.add(mailer(stuck, name="stuck", concurrency=1))
    app.add(mailer(other, name="other", effect=Effect.DATABASE))
    async with running(app, database):
        with psycopg.connect(database) as conn:
            for number in range(3):
                publish(conn, OrderPlaced(order_id=number))
        async with asyncio.timeout(20):
            await stuck.called.wait()
            while other.seen < 3:
                other.called.clear()
                await other.called.wait()
        stuck.may_end.set()

    assert rows("select count(*) from outbox.receipt where handler = 'other'") == [(3,)]


async def test_publishers_ring_only_while_a_relay_sleeps(database: str) -> None:
    """NOTIFY takes a lock on the whole instance at commit, so nobody rings for nothing."""
    ring = "insert into outbox.relay values ('r', now(), now(), '{}', now() + %s::interval)"
    with (
        psycopg.connect(database, autocommit=True) as ear,
        psycopg.connect(database, autocommit=True) as conn,
    ):
        ear.execute("listen outbox")
        heard = []
        for asleep in (None, "-1 s", "30 s"):
            conn.execute("delete from outbox.relay")
            if asleep is not None:
                conn.execute(ring, (asleep,))
            with conn.transaction():
                publish(conn, OrderPlaced(order_id=1))
            heard.append(len(list(ear.notifies(timeout=0.05, stop_after=1))))

    assert heard == [0, 0, 1]


async def test_a_lane_goes_on_after_the_database_went_away(database: str) -> None:
    pulse = Pulse()
    app = App("shop")
    app.add(mailer(pulse))
    async with running(app, database):
        with capture_logs(), psycopg.connect(database) as conn:
            cut = (
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            conn.execute(cut)
            conn.commit()
            publish(conn, OrderPlaced(order_id=1))
            conn.commit()
            async with asyncio.timeout(20):
                await pulse.called.wait()

    with psycopg.connect(database) as conn:
        assert conn.execute("select outcome from outbox.receipt").fetchall() == [("done",)]


async def test_logs_never_show_the_text_of_a_foreign_error(database: str) -> None:
    async def careless(message: Any, attempt: Attempt, conn: Any) -> Outcome:
        await count_order(message, attempt, conn)
        await conn.execute(
            "insert into effect (delivery_id, note) values (%s, %s)",
            (attempt.delivery_id, "someone@example.org"),
        )
        return Done()

    async with OutboxHarness.opened(
        made(mailer(careless, effect=Effect.DATABASE)), database
    ) as box:
        await box.publish(OrderPlaced(order_id=1))
        await box.publish(OrderPlaced(order_id=2))
        with capture_logs() as logs:
            await box.drain()

    assert [log["error_type"] for log in logs if log.get("outcome") == "retry"]
    assert "example.org" not in repr(logs)
    assert "already exists" not in repr(logs)


async def test_lifespan_is_entered_around_the_work(database: str) -> None:
    story: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        story.append("opened")
        yield
        story.append("closed")

    app = App("shop", lifespan=lifespan)
    app.add(mailer())
    async with running(app, database):
        story.append("running")

    assert story == ["opened", "running", "closed"]


async def test_only_some_handlers_may_be_run(database: str) -> None:
    app = made(mailer(), mailer(name="ledger"))

    assert list(Relay(app, database, only={"ledger"}).lanes) == ["ledger"]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"name": "no spaces"}, "letters, digits and underscores"),
        ({"name": "1st"}, "starting with a letter"),
        ({"messages": ()}, "takes no message"),
        ({"concurrency": 0}, "at least 1"),
        ({"timeout": 0 * SECOND}, "above zero"),
        ({"effect": Effect.DATABASE, "prepare": nothing}, "prepare is for handlers that call out"),
        ({"unknown": UnknownPolicy.RESEND_ONCE}, "only AMBIGUOUS"),
    ],
)
def test_a_handler_that_cannot_work_is_refused_at_start(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(HandlerInvalid, match=says):
        mailer(**terms)


def test_names_and_contracts_are_taken_once() -> None:
    class OtherOrder(Message, topic="order.placed"):
        """The same topic and version, another meaning."""

    app = made(mailer())
    with pytest.raises(HandlerInvalid, match="taken"):
        app.add(mailer())
    with pytest.raises(MessageClassInvalid, match="already OrderPlaced"):
        app.add(mailer(name="other", messages=(OtherOrder,)))


def test_a_decorated_function_is_a_handler() -> None:
    app = App("shop")

    @app.handler(OrderPlaced, name="mail", effect=Effect.IDEMPOTENT, concurrency=3)
    async def mail(message: OrderPlaced, attempt: Attempt) -> Outcome:
        return await nothing(message, attempt)

    found = app.handlers["mail"]
    assert isinstance(found, Handler)
    assert found.call is mail
    assert found.concurrency == 3
    assert list(app.routes()) == [("order.placed", "mail", False)]


def test_time_moves_only_when_told_to() -> None:
    clock = made().clock
    assert isinstance(clock, VirtualClock)
    before = clock.now()

    assert clock.now() == before
    assert clock.advance(SECOND) == before + SECOND
