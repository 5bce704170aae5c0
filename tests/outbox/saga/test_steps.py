"""Linear flows: each step dies in turn and the flow ends compensated; nothing undone runs later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from examples.trip import TRIP
from examples.trip.messages import (
    BookFlight,
    BookRoom,
    CancelFlight,
    CancelRoom,
    ChargeCard,
    RefundCard,
    TripOrdered,
)
from outbox import (
    App,
    Dead,
    Done,
    Effect,
    Handler,
    Ladder,
    Message,
    OutcomeUnknown,
    PermanentFailure,
    Phase,
    RetryPolicy,
    Steps,
    TransientFailure,
)
from outbox.errors import SagaInvalid
from outbox.saga.persons import ActRefused
from outbox.testing import Crash

if TYPE_CHECKING:
    from outbox.testing import Lab
    from tests.outbox.saga.conftest import Opening

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ORDER = TripOrdered(trip_id=7, cents=100)
ORDERED: tuple[tuple[str, type[Message], type[Message]], ...] = (
    ("flight", BookFlight, CancelFlight),
    ("room", BookRoom, CancelRoom),
    ("card", ChargeCard, RefundCard),
)


async def never(*_: Any) -> Any:
    """What a lab never calls: it answers itself."""
    pytest.fail("a lab answers itself")


def trips() -> App:
    """The trip's flow over outside services, of which the bank's answers may stay unknown."""
    app = App("trips")
    policy = RetryPolicy(attempts_max=3, backoff=Ladder((10, 60)), jitter=0.0)
    for name, messages, effect in (
        ("airline", (BookFlight, CancelFlight), Effect.IDEMPOTENT),
        ("hotel", (BookRoom, CancelRoom), Effect.DATABASE),
        ("bank", (ChargeCard, RefundCard), Effect.AMBIGUOUS),
    ):
        app.add(Handler(name=name, messages=messages, effect=effect, call=never, retry=policy))
    app.add_saga(TRIP)
    return app


@pytest.fixture
async def lab(lab_of: Opening) -> Lab:
    return await lab_of(trips())


async def topics(lab: Lab) -> list[str]:
    return [said.topic for said in await lab.said()][1:]


async def test_all_goes_well(lab: Lab) -> None:
    lab.script(BookFlight, Done({"seat": "12a"}))
    await lab.tell(ORDER)

    life = await lab.life("trip", "7")
    assert (life.state.phase, life.ended) == (Phase.COMPLETED, True)
    assert await topics(lab) == ["flight.book", "room.book", "card.charge"]
    assert life.state.receipts["flight"] == {"seat": "12a"}
    assert life.timers == {}


@pytest.mark.parametrize("dies", [0, 1, 2])
async def test_a_step_that_is_refused_turns_the_flow(dies: int, lab: Lab) -> None:
    """Those before it are undone, the last first; it did not happen itself."""
    lab.script(ORDERED[dies][1], PermanentFailure("refused"))
    await lab.tell(ORDER)

    life = await lab.life("trip", "7")
    booked = [book.declaration.topic for _, book, _ in ORDERED[: dies + 1]]
    undone = [undo.declaration.topic for _, _, undo in reversed(ORDERED[:dies])]
    assert (life.state.phase, life.ended) == (Phase.COMPENSATED, True)
    assert await topics(lab) == booked + undone
    assert life.state.why == "refused"


async def test_a_step_given_up_after_attempts_is_undone_too(lab: Lab) -> None:
    """Three time-outs may have booked three seats: nobody can tell, so it is taken back."""
    lab.always(BookRoom, TransientFailure("slow"))
    await lab.tell(ORDER)
    await lab.elapse(2 * MINUTE)

    assert await topics(lab) == ["flight.book", "room.book", "room.cancel", "flight.cancel"]
    assert (await lab.life("trip", "7")).state.phase is Phase.COMPENSATED


async def test_an_unknown_step_waits_and_is_then_undone(lab: Lab) -> None:
    lab.script(ChargeCard, OutcomeUnknown("lost"))
    await lab.tell(ORDER)
    waiting = await lab.life("trip", "7")
    await lab.elapse(11 * MINUTE)

    assert set(waiting.timers) == {"unknown"}
    assert (await topics(lab))[3:] == ["card.refund", "room.cancel", "flight.cancel"]
    ended = await lab.life("trip", "7")
    assert (ended.state.phase, ended.state.why) == (Phase.COMPENSATED, "stayed_unknown")
    assert [t.outcome for t in await lab.traces("bank")] == ["unknown", "withdrawn", "done"]


async def test_a_step_that_takes_too_long_is_revoked(lab: Lab) -> None:
    """What waits for its next attempt is closed, so that it cannot happen after its undo."""
    lab.always(BookRoom, TransientFailure("slow", retry_after=2 * HOUR))
    await lab.tell(ORDER)
    await lab.elapse(3 * HOUR)

    life = await lab.life("trip", "7")
    assert (life.state.phase, life.state.why) == (Phase.COMPENSATED, "deadline_passed")
    assert [call.message.declaration.topic for call in lab.calls("hotel")] == [
        "room.book",
        "room.cancel",
    ]


async def test_what_is_in_flight_when_the_flow_turns_ends_before_its_undo(lab: Lab) -> None:
    """The call may still arrive: its undo waits until the lease is over."""
    lab.script(BookRoom, TransientFailure("slow", retry_after=HOUR - 10 * timedelta(seconds=1)))
    await lab.tell(ORDER)
    lab.advance(HOUR - 10 * timedelta(seconds=1))
    lab.crash("hotel", Crash.AFTER_CALL)
    await lab.run()  # in flight, and whoever waited for it is dead
    began = lab.now
    await lab.elapse(5 * MINUTE)

    undone = [c for c in lab.calls("hotel") if isinstance(c.message, CancelRoom)]
    lines = await lab.timeline("trip", "7")
    assert len(undone) == 1
    assert began + timedelta(seconds=30) <= lab.now
    assert [line.note for line in lines][-3:] == ["undo_room", "undo_flight", "compensated"]
    assert (await lab.life("trip", "7")).state.phase is Phase.COMPENSATED


async def test_a_redrive_cannot_run_a_compensated_step(lab: Lab) -> None:
    lab.script(ChargeCard, PermanentFailure("refused"))
    await lab.tell(ORDER)
    risen = await lab.redrive()
    await lab.run()

    assert risen == 0
    assert [t.outcome for t in await lab.traces("bank")] == ["dead", "withdrawn"]
    assert len(lab.calls("bank")) == 1


async def test_a_compensation_retries_then_parks_and_goes_on_when_redriven(lab: Lab) -> None:
    lab.script(ChargeCard, PermanentFailure("refused"))
    lab.script(CancelRoom, *[TransientFailure("busy")] * 3)
    await lab.tell(ORDER)
    await lab.elapse(2 * MINUTE)
    parked = await lab.life("trip", "7")
    await lab.redrive()
    await lab.run()

    assert (parked.state.phase, parked.state.at) == (Phase.PARKED, "room")
    assert parked.parked_why == "attempts_exhausted:busy"
    assert parked.state.undone == ()
    ended = await lab.life("trip", "7")
    assert (ended.state.phase, ended.state.undone) == (Phase.COMPENSATED, ("room", "flight"))
    assert ended.parked_why is None


async def test_a_parked_undo_is_tried_again_at_a_persons_word(lab: Lab) -> None:
    lab.script(ChargeCard, PermanentFailure("refused"))
    lab.script(CancelRoom, Dead("closed"))
    await lab.tell(ORDER)
    await lab.compensate("trip", "7", why="the hotel is open again", actor="ada")
    await lab.run()

    assert (await lab.life("trip", "7")).state.phase is Phase.COMPENSATED
    assert await lab.redrive() == 0  # the first undo's dead letter is gone with its second
    (act,) = [line for line in await lab.timeline("trip", "7") if line.actor]
    assert (act.topic, act.actor, act.published) == ("person:compensate", "ada", ("room.cancel",))


async def test_a_person_skips_an_undo_that_will_never_work(lab: Lab) -> None:
    lab.script(ChargeCard, PermanentFailure("refused"))
    lab.script(CancelRoom, Dead("closed"))
    await lab.tell(ORDER)
    with pytest.raises(ActRefused, match="it stands at room"):
        await lab.skip("trip", "7", "flight", why="wrong one", actor="ada")
    await lab.skip("trip", "7", "room", why="the hotel burnt down", actor="ada")
    await lab.run()

    life = await lab.life("trip", "7")
    assert (life.state.phase, life.state.undone) == (Phase.COMPENSATED, ("flight",))
    assert life.state.skipped == ("room",)


async def test_a_person_skips_a_step_and_the_flow_goes_on(lab: Lab) -> None:
    lab.script(BookRoom, TransientFailure("busy", retry_after=HOUR))
    await lab.tell(ORDER)
    await lab.skip("trip", "7", "room", why="they sleep at friends'", actor="ada")
    await lab.run()

    life = await lab.life("trip", "7")
    assert (life.state.phase, life.state.done) == (Phase.COMPLETED, ("flight", "card"))
    assert len(lab.calls("hotel")) == 1


async def test_a_person_turns_a_flow(lab: Lab) -> None:
    lab.script(BookRoom, TransientFailure("busy", retry_after=HOUR))
    await lab.tell(ORDER)
    await lab.compensate("trip", "7", why="the traveller is ill", actor="ada")
    await lab.run()
    with pytest.raises(ActRefused, match="no open instance"):
        await lab.compensate("trip", "7", why="again", actor="ada")

    assert await topics(lab) == ["flight.book", "room.book", "room.cancel", "flight.cancel"]
    assert (await lab.life("trip", "7")).state.phase is Phase.COMPENSATED


@pytest.mark.parametrize("point", list(Crash))
@pytest.mark.parametrize("who", ["trip", "airline", "hotel"])
async def test_a_crash_anywhere_delays_and_changes_nothing(
    who: str, point: Crash, lab: Lab
) -> None:
    lab.script(ChargeCard, PermanentFailure("refused"))
    lab.crash(who, point)
    await lab.tell(ORDER)
    await lab.elapse(MINUTE)

    assert (await lab.life("trip", "7")).state.phase is Phase.COMPENSATED
    assert (await topics(lab))[3:] == ["room.cancel", "flight.cancel"]


async def test_a_doubled_order_is_one_trip(lab: Lab) -> None:
    await lab.publish(ORDER)
    await lab.publish(ORDER)
    await lab.run()

    assert len(lab.calls()) == 3
    assert len(await lab.lives("trip")) == 1


def test_a_flow_that_cannot_be_followed_is_refused() -> None:
    steps = Steps("trip", TripOrdered, "trip_id")
    with pytest.raises(SagaInvalid, match="it has no steps"):
        steps.saga()
    with pytest.raises(SagaInvalid, match=r"room\.book is the command of two steps"):
        steps.do("a", BookRoom).do("b", BookRoom).saga()
    with pytest.raises(SagaInvalid, match="two steps are named 'a'"):
        steps.do("a", BookRoom).do("a", BookFlight)
    with pytest.raises(SagaInvalid, match="belongs to the one `do` before it"):
        steps.undo(CancelRoom)
    with pytest.raises(SagaInvalid, match="BookRoom needs trip_id, which Bare does not have"):
        Steps("trip", Bare, lambda _: "1").do("a", BookRoom)
    with pytest.raises(SagaInvalid, match="has no field 'trip'"):
        replace(steps, correlate="trip").do("a", BookRoom).saga()


class Bare(Message, topic="trip.bare"):
    """It says nothing."""
