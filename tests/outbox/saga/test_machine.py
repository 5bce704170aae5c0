"""The trip under everything that can happen: it ends completed or compensated, never half way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase as Phases
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from examples.trip.messages import BookFlight, BookRoom, ChargeCard, TripOrdered
from outbox import App, Decision, Message, Phase, Saga, SagaState
from outbox.testing.machine import saga_machine
from tests.outbox.saga.test_steps import trips

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.testing import Lab

ORDERS = st.integers(1, 2).map(lambda trip_id: TripOrdered(trip_id=trip_id, cents=100))


async def nothing_is_booked_after_its_cancellation(lab: Lab) -> None:
    """Of one trip and service, no booking call comes after the first cancelling one."""
    undone: set[tuple[int, str]] = set()
    for call in lab.calls():
        book = isinstance(call.message, BookFlight | BookRoom | ChargeCard)
        whose = (call.message.trip_id, call.handler)
        if not book:
            undone.add(whose)
        if len(await lab.lives("trip", str(call.message.trip_id))) == 1:
            assert not (book and whose in undone), whose


async def every_trip_has_ended(lab: Lab) -> None:
    for life in await lab.lives("trip"):
        stands = (life.state.phase, life.parked_why)
        if life.state.phase is Phase.PARKED:  # an undo was refused: a person must look
            assert life.parked_why is not None
            continue
        assert life.ended, stands
        assert life.state.phase in {Phase.COMPLETED, Phase.COMPENSATED}
        if life.state.phase is Phase.COMPENSATED:
            assert not life.state.undo


TestTrip = saga_machine(
    trips(),
    messages=ORDERS,
    invariants=[nothing_is_booked_after_its_cancellation],
    at_rest=[every_trip_has_ended],
).TestCase
TestTrip.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


class Counted(SagaState):
    """How often it heard."""

    heard: int = 0


def forgetful(state: Counted, message: Message, *, now: datetime) -> Decision[Counted]:
    """A saga with a mistake: it counts doubled messages, and breaks at the third."""
    del now, message
    if state.heard == 2:
        raise RuntimeError
    return Decision(state.model_copy(update={"heard": state.heard + 1}))


def broken() -> App:
    app = App("broken")
    saga: Saga[Any] = Saga(
        name="counter", state=Counted, react=forgetful, correlate="trip_id",
        starts={TripOrdered: lambda _: Counted()},
    )  # fmt: skip
    app.add_saga(saga)
    return app


async def hears_once(lab: Lab) -> None:
    assert all(life.state.heard <= 1 for life in await lab.lives("counter"))


@pytest.mark.parametrize("looks", [[hears_once], []])
def test_a_saga_with_a_mistake_is_found_out(looks: list[Any]) -> None:
    """By the user's invariant; and without one, since what breaks `react` dies."""
    machine = saga_machine(broken(), messages=ORDERS, invariants=looks)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=20,
                deadline=None,
                database=None,
                phases=[Phases.generate],
                report_multiple_bugs=False,
            ),
        )
