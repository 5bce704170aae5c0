"""What people see of an instance and may do to it, and what today's code makes of stored ones."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog
from typer.testing import CliRunner

import outbox.cli
from examples.trip import TRIP, build
from examples.trip.commands import TABLES
from examples.trip.messages import TripOrdered
from outbox import Decision, Message, Saga, SagaState, TimedOut, Timer, VirtualClock
from outbox.cli.frame import engine
from outbox.errors import SagaInvalid
from outbox.saga.store import StoredSaga
from outbox.saga.stored import check_stored, lint_stored
from outbox.testing import OutboxHarness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typer.testing import Result

    from outbox import App
    from tests.outbox.conftest import Rows

    Run = Callable[..., Result]

assert outbox.cli  # its import adds the commands
START = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture
def app() -> App:
    return build(VirtualClock(START))


@pytest.fixture
def run(app: App, database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DATABASE_URL", database)

    def invoke(*args: str) -> Result:
        before = structlog.get_config()  # a command's log goes to its own stderr
        try:
            return CliRunner().invoke(engine, ["saga", *args], obj=app)
        finally:
            structlog.configure(**before)

    return invoke


@pytest.fixture
def tables(database: str) -> Iterator[None]:
    with psycopg.connect(database) as conn:
        conn.execute(TABLES)
    yield
    with psycopg.connect(database) as conn:
        conn.execute("drop table flight, room, card")


def drained(app: App, dsn: str, *messages: Message, paused: Sequence[str] = ()) -> None:
    async def work() -> None:
        async with OutboxHarness.opened(app, dsn) as box:
            async with box.relay.pool.connection() as conn:
                await conn.execute(
                    "update outbox.destination set paused_at = case when handler = any(%s)"
                    " then now() end",
                    [list(paused)],
                )
            for message in messages:
                await box.publish(message)
            await box.drain()

    asyncio.run(work())


@pytest.mark.usefixtures("tables")
def test_a_trip_reads_as_its_story(app: App, database: str, run: Run) -> None:
    drained(app, database, TripOrdered(trip_id=7, cents=200_000))
    shown = run("show", _id(run))
    document = json.loads(run("show", _id(run), "--json").stdout)

    lines = [line.split(" ", 2)[-1] if line[:1] == "2" else line for line in _lines(shown)]
    assert "trip 7: ended" in shown.stdout
    assert [line for line in lines if not line.startswith("    ")][1:] == [
        "trip.ordered: do_flight",
        "report:flight.book:done: do_room",
        "report:room.book:done: do_card",
        "report:card.charge:dead: undo_room",
        "report:room.cancel:done: undo_flight",
        "report:flight.cancel:done: compensated",
    ]
    assert "bank, attempt 1: dead (card_limit)" in shown.stdout
    assert "arms deadline for 2026-03-01T09:00:00+00:00" in shown.stdout
    assert "phase: doing -> undoing" in shown.stdout
    assert "200000" not in shown.stdout + json.dumps(document)  # what was ordered is private
    outs = [message for step in document["timeline"] for message in step["out"]]
    assert [message["topic"] for message in outs][:3] == ["flight.book", "room.book", "card.charge"]
    assert [one["outcome"] for one in outs[2]["attempts"]] == ["dead", "withdrawn"]


@pytest.mark.usefixtures("tables")
def test_persons_act_and_the_timeline_tells_who_and_why(
    app: App, database: str, run: Run, rows: Rows
) -> None:
    drained(app, database, TripOrdered(trip_id=7, cents=1), paused=["hotel"])
    trip = _id(run)
    wrong = run("skip", trip, "card", "--why", "x", "--actor", "ada")
    naive = run("re-arm", trip, "deadline", "--at", "2026-03-01T08:30:00", "--actor", "ada")
    unknown = run("re-arm", trip, "tea", "--at", "2026-03-01T08:30:00Z", "--actor", "ada")
    armed = run("re-arm", trip, "deadline", "--at", "2026-03-01T08:30:00Z", "--actor", "ada")
    turned = run("compensate", trip, "--why", "the traveller is ill", "--actor", "bob")
    drained(app, database)
    over = run("compensate", trip, "--why", "again", "--actor", "bob")

    assert "it stands at room; nothing was changed" in _told(wrong).replace(")", "")
    assert "give ISO 8601 with a zone" in _told(naive)
    assert "it has no timer 'tea'; there are deadline, unknown" in _told(unknown)
    assert (armed.exit_code, turned.exit_code) == (0, 0)
    assert "it has no open instance" in _told(over)
    acts = rows(
        "select topic, change ->> 'actor', change ->> 'why' from outbox.saga_transition"
        " where message_id is null order by version"
    )
    assert acts == [
        ("person:re-arm", "ada", "by hand"),
        ("person:compensate", "bob", "the traveller is ill"),
    ]
    assert "by bob: the traveller is ill" in run("show", trip).stdout
    assert rows("select state from flight union all select state from room order by 1") == [
        ("cancelled",),
        ("cancelled",),
    ]


def test_who_asks_for_what_is_not_there_is_told(run: Run) -> None:
    assert "there is no saga 999" in _told(run("show", "999"))
    assert "there is no saga 999" in _told(run("skip", "999", "x", "--why", "y", "--actor", "z"))


def _id(run: Run) -> str:
    return str(json.loads(run("list", "--json").stdout)[0]["id"])


def _lines(result: Result) -> list[str]:
    return result.stdout.splitlines()


def _told(result: Result) -> str:
    assert result.exit_code != 0
    return str(result.exception)


class OrderV3(SagaState):
    """Today's state of the corpus."""

    order_id: int
    step: str
    tags: tuple[str, ...] = ()


def react(state: OrderV3, message: Message, *, now: datetime) -> Decision[OrderV3]:
    """Move on at each reminder; the step `lost` was forgotten."""
    if state.step == "lost":
        raise KeyError(state.step)
    if isinstance(message, TimedOut):
        return Decision(state.model_copy(update={"step": "reminded"}), arm=(Timer("remind", now),))
    return Decision(state)


def evolved(**terms: Any) -> Saga[OrderV3]:
    named: dict[str, Any] = {
        "name": "order",
        "state": OrderV3,
        "react": react,
        "correlate": "trip_id",
        "starts": {TripOrdered: lambda m: OrderV3(order_id=m.trip_id, step="new")},
        "timers": frozenset({"remind"}),
        "state_version": 3,
        "upcasters": {
            1: lambda v1: {"order_id": int(v1["id"]), "stage": v1["stage"]},
            2: lambda v2: {"order_id": v2["order_id"], "step": v2["stage"].lower()},
        },
    }
    return Saga(**(named | terms))


def kept(number: int, version: int, state: dict[str, Any], *timers: str) -> StoredSaga:
    """One instance of the corpus, as an earlier release stored it."""
    armed = {name: {"generation": 1, "message_id": 1, "at": START.isoformat()} for name in timers}
    return StoredSaga(
        id=number, name="order", key=str(number), state=json.dumps(state), state_version=version,
        version=2, timers=armed, parked_why=None, ended_at=None,
    )  # fmt: skip


CORPUS = (
    kept(1, 1, {"id": "7", "stage": "NEW"}, "remind"),
    kept(2, 2, {"order_id": 8, "stage": "Paid"}),
    kept(3, 3, {"order_id": 9, "step": "paid", "tags": ["gift"]}, "remind"),
)
BROKEN = (
    kept(4, 2, {"order_id": "no number", "stage": "Paid"}),
    kept(5, 1, {"stage": "NEW"}),
    kept(6, 3, {"order_id": 9, "step": "lost"}, "remind"),
    kept(7, 3, {"order_id": 9, "step": "paid"}, "escalate"),
    kept(8, 4, {"whatever": 1}),
)


def test_states_of_every_release_are_read_by_today() -> None:
    saga = evolved()

    assert lint_stored(CORPUS, {"order": saga}) == []
    assert [saga.read(one.state, one.state_version) for one in CORPUS] == [
        OrderV3(order_id=7, step="new"),
        OrderV3(order_id=8, step="paid"),
        OrderV3(order_id=9, step="paid", tags=("gift",)),
    ]


def test_lint_names_what_today_cannot_follow_and_quotes_nothing() -> None:
    found = {one.saga_id: one.problem for one in lint_stored(BROKEN, {"order": evolved()})}

    assert found[4] == "its state cannot be read: order_id (int_parsing)"
    assert found[5].startswith("its state cannot be read: KeyError in <lambda>, line ")
    assert found[6].startswith("timer 'remind' would fail: KeyError in react, line ")
    assert found[7] == "timer 'escalate' is armed and nothing handles it"
    assert found[8] == "stored by a newer program; this one knows version 3"
    assert lint_stored(BROKEN[:1], {})[0].problem == "this program has no saga of that name"


def test_lint_of_a_flow_finds_steps_that_are_gone() -> None:
    state = {"start": {"trip_id": 1, "cents": 1}, "phase": "doing", "at": "boat"}
    stored = replace(kept(1, 1, state), name="trip")

    (found,) = lint_stored([stored], {"trip": TRIP})

    assert found.problem == "it stands on steps that are no more: boat"


def put(dsn: str, *corpus: StoredSaga) -> None:
    with psycopg.connect(dsn) as conn:
        for one in corpus:
            conn.execute(
                "insert into outbox.saga (name, key, state, state_version, version, timers,"
                " started_at, changed_at) values (%s, %s, %s, %s, 1, %s, now(), now())",
                (one.name, one.key, one.state, one.state_version, json.dumps(dict(one.timers))),
            )


def test_lint_looks_at_what_is_stored(app: App, database: str, run: Run) -> None:
    put(database, *CORPUS, *BROKEN)
    missing = run("lint")
    app.add_saga(evolved())
    found = run("lint", "--json")
    few = run("lint", "--sample", "1")

    assert missing.exit_code == found.exit_code == few.exit_code == 1
    assert "this program has no saga of that name" in missing.stdout
    document = json.loads(found.stdout)
    assert document["looked_at"] == 8
    assert sorted(one["problem"].partition(":")[0] for one in document["findings"]) == [
        "its state cannot be read",
        "its state cannot be read",
        "stored by a newer program; this one knows version 3",
        "timer 'escalate' is armed and nothing handles it",
        "timer 'remind' would fail",
    ]
    assert "4 instances looked at" in few.stdout


@pytest.mark.parametrize(
    ("terms", "stored", "says"),
    [
        (
            {"upcasters": {2: dict}},
            CORPUS[0],
            r"1 open instances .* stored at version 1 .* none from 1 to 2",
        ),
        ({}, BROKEN[3], "timer 'escalate' is armed in 1 open instances .* nothing handles it"),
    ],
)
async def test_a_relay_refuses_to_start_over_what_it_cannot_follow(
    terms: dict[str, Any], stored: StoredSaga, says: str, app: App, database: str
) -> None:
    app.add_saga(evolved(**terms))
    async with OutboxHarness.opened(app, database):
        pass  # nothing is stored: nothing to refuse
    put(database, stored)

    with pytest.raises(SagaInvalid, match=says):
        async with OutboxHarness.opened(app, database):
            pass


async def test_what_a_newer_program_stored_is_no_reason_not_to_start(
    app: App, database: str
) -> None:
    """A rolling deploy: its instances are given back, and an ended one binds nobody."""
    app.add_saga(evolved())
    put(database, BROKEN[4], BROKEN[3])
    with psycopg.connect(database) as conn:
        conn.execute("update outbox.saga set ended_at = now() where key = '7'")
    await _checked(database, app)


async def _checked(dsn: str, app: App) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await check_stored(conn, app.sagas)
