"""P9: state, timers and messages in one commit; late, doubled and stale is decided, not raised."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    App,
    Attempt,
    Decision,
    DeliveryReport,
    Done,
    Effect,
    Message,
    OnMissing,
    Outcome,
    PermanentFailure,
    Publication,
    Report,
    Saga,
    SagaState,
    Settled,
    TimedOut,
    Timer,
    TransientFailure,
    Withdrawn,
    publish,
)
from outbox.errors import HandlerInvalid, SagaInvalid
from outbox.saga import queries as saga_queries
from outbox.testing import OutboxHarness
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, made, mailer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.outbox.conftest import Rows


class Paid(Message, topic="order.paid"):
    """Money came."""

    order_id: int


class Cancelled(Message, topic="order.cancelled"):
    """The customer thought again."""

    order_id: int


class Ship(Message, topic="parcel.ship"):
    """A command to the depot."""

    order_id: int


class Checkout(SagaState):
    """What the saga knows of one order."""

    step: str = "placed"
    reminders: int = 0
    heard: tuple[str, ...] = ()


def react(  # noqa: PLR0911 - one return for each turn of the story
    state: Checkout, message: Message, *, now: datetime
) -> Decision[Checkout]:
    """Remind twice, ship when paid, and forget everything when cancelled."""
    match state.step, message:
        case "placed", OrderPlaced():
            waiting = state.model_copy(update={"step": "waiting"})
            return Decision(waiting, arm=(Timer("remind", now + MINUTE),), note="waits")
        case "waiting", TimedOut(name="remind"):
            reminded = state.model_copy(update={"reminders": state.reminders + 1})
            return Decision(reminded, arm=(Timer("remind", now + MINUTE),))
        case "waiting", OrderPlaced():
            return Decision(state, arm=(Timer("remind", now + 5 * MINUTE),), note="again")
        case "waiting", Paid(order_id=order_id):
            shipping = state.model_copy(update={"step": "shipping"})
            return Decision(
                shipping,
                publish=(Publication(message=Ship(order_id=order_id), key=f"order:{order_id}"),),
                cancel=("remind",),
            )
        case "shipping", DeliveryReport(report=report):
            heard = (*state.heard, str(report))
            return Decision(state.model_copy(update={"heard": heard}), end=report is Report.DONE)
        case "shipping", Cancelled():
            return Decision(state, withdraw=("parcel.ship",), end=True, note="taken_back")
        case _:
            return Decision.ignore(state)


def checkout(**terms: Any) -> Saga[Checkout]:
    named: dict[str, Any] = {
        "name": "checkout",
        "state": Checkout,
        "react": react,
        "correlate": lambda message: str(message.order_id),
        "starts": {OrderPlaced: lambda _: Checkout()},
        "handles": (Paid, Cancelled),
        "on_missing": dict.fromkeys((Paid, Cancelled), OnMissing.IGNORE),
        "watches": {"parcel.ship": frozenset({Report.DONE, Report.FIRST_FAILURE, Report.DEAD})},
        "timers": frozenset({"remind"}),
    }
    return Saga(**(named | terms))


class Depot:
    """Where parcels leave; it answers as told."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.shipped: list[int] = []

    async def __call__(self, message: Ship, attempt: Attempt) -> Outcome:
        del attempt
        if self.trouble is not None:
            raise self.trouble
        self.shipped.append(message.order_id)
        return Done({"parcel": message.order_id})


def application(depot: Depot, **terms: Any) -> App:
    app = made(mailer(depot, name="depot", messages=(Ship,)))
    app.add_saga(checkout(**terms))
    return app


def test_a_saga_whose_name_is_taken_leaves_nothing_behind() -> None:
    """Else the application would report to a saga that nothing reaches."""
    app = made(mailer(name="checkout"))

    with pytest.raises(HandlerInvalid, match="'checkout': the name is taken"):
        app.add_saga(checkout())

    assert not app.sagas


@pytest.fixture
def depot() -> Depot:
    return Depot()


@pytest.fixture
async def box(depot: Depot, database: str) -> AsyncIterator[OutboxHarness]:
    async with OutboxHarness.opened(application(depot), database) as harness:
        yield harness


async def say(box: OutboxHarness, *messages: Message) -> None:
    for message in messages:
        await box.publish(message, key=f"order:{message.model_dump()['order_id']}")
    await box.drain()


async def test_the_first_message_starts_and_each_transition_is_told(
    box: OutboxHarness, depot: Depot, rows: Rows
) -> None:
    await say(box, OrderPlaced(order_id=1), Paid(order_id=1))

    assert depot.shipped == [1]
    assert rows("select key, state ->> 'step', ended_at is not null from outbox.saga") == [
        ("1", "shipping", True)
    ]
    story = rows("select version, topic, change ->> 'note' from outbox.saga_transition order by 1")
    assert story == [
        (2, "order.placed", "waits"),
        (3, "order.paid", ""),
        (4, "report:parcel.ship:done", ""),
    ]
    assert (await box.census("checkout")).pending == 0


async def test_a_timer_comes_due_and_is_armed_again(box: OutboxHarness, rows: Rows) -> None:
    await say(box, OrderPlaced(order_id=1))
    for _ in range(3):
        box.advance(MINUTE)
        await box.drain()

    assert rows("select (state ->> 'reminders')::int from outbox.saga") == [(3,)]
    assert (await box.census("checkout")).pending == 1  # the next reminder


async def test_arming_again_replaces_the_timer(box: OutboxHarness, rows: Rows) -> None:
    await say(box, OrderPlaced(order_id=1), OrderPlaced(order_id=1))
    box.advance(MINUTE)
    await box.drain()
    early = rows("select (state ->> 'reminders')::int from outbox.saga")
    box.advance(4 * MINUTE)
    await box.drain()

    assert early == [(0,)]
    assert rows("select (state ->> 'reminders')::int from outbox.saga") == [(1,)]
    assert rows("select reason from outbox.receipt where outcome = 'withdrawn'") == [
        ("timer_cancelled",)
    ]


async def test_a_cancelled_timer_never_fires(box: OutboxHarness, rows: Rows) -> None:
    await say(box, OrderPlaced(order_id=1))
    await say(box, Paid(order_id=1))
    box.advance(10 * MINUTE)
    await box.drain()

    assert rows("select (state ->> 'reminders')::int from outbox.saga") == [(0,)]


async def test_a_timer_in_hand_while_it_is_cancelled_is_stale(
    box: OutboxHarness, rows: Rows
) -> None:
    """It could not be withdrawn, since somebody held it; its generation tells that it is old."""
    await say(box, OrderPlaced(order_id=1))
    box.advance(MINUTE)
    (held,) = await box.claim("checkout")
    rows("update outbox.saga set timers = '{}'")
    await box.give_back(held)
    await box.drain()

    assert rows("select outcome, reason from outbox.receipt order by id desc limit 1") == [
        ("suppressed", "stale_timer")
    ]


async def test_a_timer_of_an_earlier_life_misses_the_next(box: OutboxHarness, rows: Rows) -> None:
    await say(box, OrderPlaced(order_id=1))
    rows("update outbox.saga set ended_at = now()")
    await say(box, OrderPlaced(order_id=1))
    box.advance(MINUTE)
    await box.drain()

    lives = rows("select (state ->> 'reminders')::int from outbox.saga order by id")
    assert lives == [(0,), (1,)]


@pytest.mark.parametrize(
    ("trouble", "heard"),
    [(TransientFailure("busy"), "first_failure"), (PermanentFailure("refused"), "dead")],
)
async def test_a_saga_hears_how_its_command_ended(
    trouble: Exception, heard: str, box: OutboxHarness, depot: Depot, rows: Rows
) -> None:
    depot.trouble = trouble
    await say(box, OrderPlaced(order_id=1), Paid(order_id=1))
    box.advance(10 * SECOND)
    await box.drain()  # a second failure is not reported again

    assert rows("select state -> 'heard' from outbox.saga") == [([heard],)]


async def test_a_saga_takes_back_what_has_not_begun(
    box: OutboxHarness, depot: Depot, rows: Rows
) -> None:
    rows("update outbox.destination set paused_at = now() where handler = 'depot'")
    await say(box, OrderPlaced(order_id=1), Paid(order_id=1), Cancelled(order_id=1))
    rows("update outbox.destination set paused_at = null")
    await box.drain()

    assert depot.shipped == []
    assert (await box.census("depot")).overtaken == 1
    assert rows("select reason from outbox.receipt where handler = 'depot'") == [
        ("withdrawn_by_saga",)
    ]


async def test_a_saga_takes_back_what_nobody_is_routed_for_yet(
    depot: Depot, database: str, rows: Rows
) -> None:
    """Else the first relay with a handler for it would do what was taken back long ago."""
    app = made()
    app.add_saga(checkout())
    async with OutboxHarness.opened(app, database) as box:
        await say(box, OrderPlaced(order_id=1), Paid(order_id=1))
        parked = rows("select topic from outbox.unrouted")
        await say(box, Cancelled(order_id=1))
    async with OutboxHarness.opened(application(depot), database) as box:
        await box.drain()

    assert parked == [("parcel.ship",)]
    assert depot.shipped == []


async def test_what_a_saga_takes_back_is_told_and_never_redriven(database: str, rows: Rows) -> None:
    """Its dead letter stays to be looked at; the handler's own tables hear of both."""
    depot = Depot()
    told: list[Any] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        told.extend((one.delivery_id, one.outcome) for one in settled)

    app = made(mailer(depot, name="depot", messages=(Ship,), record=record))
    app.add_saga(checkout(watches={}))
    async with OutboxHarness.opened(app, database) as box:
        depot.trouble = PermanentFailure("refused")
        await say(box, OrderPlaced(order_id=1), Paid(order_id=1))
        rows("update outbox.destination set paused_at = now() where handler = 'depot'")
        await say(box, OrderPlaced(order_id=2), Paid(order_id=2))
        dead = rows("select delivery_id from outbox.dead_letter")
        waiting = rows("select id from outbox.delivery where handler = 'depot'")
        told.clear()
        await say(box, Cancelled(order_id=1), Cancelled(order_id=2))
        risen = await box.redrive()

        assert told == [(one, Withdrawn("withdrawn_by_saga")) for (one,) in [*dead, *waiting]]
        assert risen == []
        assert rows("select withdrawn_at is not null from outbox.dead_letter") == [(True,)]
        assert (await box.census("depot")).overtaken == 2


async def test_late_and_doubled_messages_are_decided(box: OutboxHarness, rows: Rows) -> None:
    await say(box, Paid(order_id=1))  # no instance, and it cannot start one
    await say(box, OrderPlaced(order_id=2), Paid(order_id=2), Paid(order_id=2))

    found = rows(
        "select outcome, coalesce(reason, detail ->> 'decision') from outbox.receipt"
        " where handler = 'checkout' and outcome <> 'withdrawn' order by id"
    )
    assert found[0] == ("suppressed", "no_instance")
    assert {outcome for outcome, _ in found} == {"done", "suppressed"}
    assert rows("select count(*) from outbox.message where topic = 'parcel.ship'") == [(1,)]


async def test_nothing_of_a_transition_that_fails_is_kept(
    depot: Depot, database: str, rows: Rows
) -> None:
    def breaking(state: Checkout, message: Message, *, now: datetime) -> Decision[Checkout]:
        found = react(state, message, now=now)
        return Decision(
            found.state,
            publish=(
                Publication(message=Ship(order_id=1)),
                Publication(message=Ship(order_id=2), key=""),
            ),
            arm=(Timer("remind", now),),
        )

    async with OutboxHarness.opened(application(depot, react=breaking), database) as box:
        await say(box, OrderPlaced(order_id=1))

        assert rows("select * from outbox.saga") == []
        assert rows("select topic from outbox.message") == [("order.placed",)]
        assert (await box.census("checkout")).pending == 1


async def test_racing_starters_make_one_instance_and_both_are_heard(
    box: OutboxHarness, database: str, rows: Rows
) -> None:
    """Two keys, one order: two relays start it at once; the loser finds the winner's instance."""
    with psycopg.connect(database) as conn:
        for key in ("web", "phone"):
            publish(conn, OrderPlaced(order_id=1), key=key)
    async with OutboxHarness.opened(application(Depot()), database) as other:
        await asyncio.gather(box.drain(), other.drain())

    assert rows("select count(*), max(version) from outbox.saga") == [(1, 3)]
    assert rows("select outcome from outbox.receipt where handler = 'checkout' order by 1") == [
        ("done",),
        ("done",),
        ("withdrawn",),
    ]


async def test_who_moves_an_instance_keeps_the_others_from_it(
    box: OutboxHarness, database: str
) -> None:
    """The row lock by itself: a second transaction waits, and is not merely refused at its end."""
    await say(box, OrderPlaced(order_id=1))
    key: dict[str, Any] = {"name": "checkout", "keys": ["1"]}

    async with box.relay.pool.connection() as conn, conn.transaction():
        (mine,) = await saga_queries.lock_sagas(conn, **key)
        with psycopg.connect(database) as other:
            other.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(saga_queries.LOCK_SAGAS, key)

    assert mine.version == 2


async def test_no_instance_has_two_transitions_to_one_version(
    box: OutboxHarness, rows: Rows
) -> None:
    """`saga_transition_pk` by itself."""
    await say(box, OrderPlaced(order_id=1))

    with pytest.raises(psycopg.errors.UniqueViolation, match="saga_transition_pk"):
        rows(
            "insert into outbox.saga_transition"
            " (saga_id, version, message_id, topic, change, published, at)"
            " select saga_id, version, message_id + 1, topic, change, published, at"
            " from outbox.saga_transition"
        )


async def test_a_state_of_a_newer_program_is_left_to_it(
    box: OutboxHarness, depot: Depot, database: str, rows: Rows
) -> None:
    await say(box, OrderPlaced(order_id=1))
    rows("update outbox.saga set state_version = 2, state = '{\"stage\": 3}'")
    await say(box, Paid(order_id=1))
    waiting = rows("select attempts, last_reason from outbox.delivery where due_at is not null")

    def up(stored: dict[str, Any]) -> dict[str, Any]:
        return stored

    newer = application(
        depot, state_version=3, upcasters={1: up, 2: lambda stored: {"step": "waiting", **stored}}
    )
    rows("update outbox.saga set state = '{\"reminders\": 7}'")
    async with OutboxHarness.opened(newer, database) as later:
        later.advance(30 * SECOND)
        await later.drain()

    assert (0, "state_newer") in waiting
    assert rows("select state_version, (state ->> 'reminders')::int from outbox.saga") == [(3, 7)]
    assert depot.shipped == [1]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"starts": {}}, "nothing starts it"),
        (
            {"on_missing": {Paid: OnMissing.IGNORE}},
            "Cancelled can neither start an instance nor be missing one",
        ),
        ({"state_version": 2}, "no upcaster to 2"),
    ],
)
def test_a_declaration_that_leaves_a_case_open_is_refused(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(SagaInvalid, match=says):
        checkout(**terms)


async def test_a_saga_is_a_handler_like_any_other(depot: Depot) -> None:
    app = application(depot)

    assert app.handlers["checkout"].effect is Effect.DATABASE
    assert ("order.paid", "checkout", True) in list(app.routes())
    assert not [topic for topic, _, _ in app.routes() if topic.startswith("outbox.")]
    assert timedelta(0) < app.handlers["checkout"].lease
