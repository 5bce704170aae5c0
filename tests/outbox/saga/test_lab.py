"""Lives, timers, order and missing instances, in both labs; and the two labs beside each other."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from outbox import (
    AfterDead,
    App,
    Dead,
    Decision,
    DeliveryReport,
    Effect,
    Handler,
    Ladder,
    Message,
    OnMissing,
    Order,
    OutcomeUnknown,
    PermanentFailure,
    Publication,
    Report,
    RetryPolicy,
    Saga,
    SagaState,
    TimedOut,
    Timer,
    TransientFailure,
)
from outbox.errors import SagaInvalid, UsageError
from outbox.testing import Crash, Lab

if TYPE_CHECKING:
    from datetime import datetime

    from tests.outbox.saga.conftest import Opening

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Opened(Message, topic="door.opened"):
    """It begins a watch, or prolongs it."""

    door: int


class Shut(Message, topic="door.shut"):
    """It ends a watch."""

    door: int


class Knocked(Message, topic="door.knocked"):
    """Heard by a watch, if there is one."""

    door: int


class Alarm(Message, topic="alarm.raise"):
    """A command of the watch; others give it too."""

    door: int


class Watch(SagaState):
    """What a watch has heard."""

    door: int
    heard: tuple[str, ...] = ()


def react(state: Watch, message: Message, *, now: datetime) -> Decision[Watch]:
    match message:
        case Opened():
            return Decision(_hearing(state, "opened"), arm=(Timer("long", now + MINUTE),))
        case TimedOut():
            alarm = Publication(message=Alarm(door=state.door), key=f"door:{state.door}")
            return Decision(_hearing(state, "timer"), publish=(alarm,))
        case DeliveryReport(report=report):
            return Decision(_hearing(state, str(report)))
        case Knocked():
            return Decision(_hearing(state, "knocked"), arm=(Timer("soon", now + SECOND),))
        case _:
            return Decision(_hearing(state, "shut"), withdraw=("alarm.raise",), end=True)


def _hearing(state: Watch, word: str) -> Watch:
    return state.model_copy(update={"heard": (*state.heard, word)})


def saga(**terms: Any) -> Saga[Watch]:
    named: dict[str, Any] = {
        "name": "watch", "state": Watch, "react": react, "correlate": "door",
        "starts": {Opened: lambda m: Watch(door=m.door)}, "handles": (Shut, Knocked),
        "on_missing": {Shut: OnMissing.IGNORE, Knocked: OnMissing.DEAD},
        "watches": {"alarm.raise": frozenset(Report)}, "timers": frozenset({"long"}),
    }  # fmt: skip
    return Saga(**(named | terms))


async def never(*_: Any) -> Any:
    pytest.fail("a lab answers itself")


def doors(*, order: Order = Order.KEYED, **terms: Any) -> App:
    app = App("doors")
    policy = RetryPolicy(attempts_max=3, backoff=Ladder((10, 60)), jitter=0.0)
    app.add(
        Handler(
            name="siren", messages=(Alarm,), effect=Effect.AMBIGUOUS, call=never, retry=policy,
            order=order,
        )
    )  # fmt: skip
    app.add_saga(saga(**terms))
    return app


@pytest.fixture
async def lab(lab_of: Opening) -> Lab:
    return await lab_of(doors())


async def heard(lab: Lab, door: int = 1) -> list[tuple[str, ...]]:
    return [life.state.heard for life in await lab.lives("watch", str(door))]


async def test_a_dead_letter_that_blocks_keeps_its_key_in_both_labs(lab_of: Opening) -> None:
    app = App("doors")
    app.add(
        Handler(
            name="siren", messages=(Alarm,), effect=Effect.IDEMPOTENT, call=never,
            order=Order.KEYED, after_dead=AfterDead.BLOCK,
        )
    )  # fmt: skip
    lab = await lab_of(app)
    lab.script("siren", PermanentFailure("broken"))
    for door, key in ((1, "hall"), (2, "hall"), (3, "yard")):
        await lab.publish(Alarm(door=door), key=key)
    await lab.run()
    blocked = [call.message for call in lab.calls()]
    await lab.redrive()
    await lab.run()

    assert blocked == [Alarm(door=1), Alarm(door=3)]
    assert [call.message for call in lab.calls()][2:] == [Alarm(door=1), Alarm(door=2)]


async def test_an_instance_that_is_parked_still_is_told_once(lab_of: Opening) -> None:
    """A timer armed by hand leaves it parked; nobody need be called a second time."""

    def waits(state: Watch, message: Message, *, now: datetime) -> Decision[Watch]:
        del message, now
        return Decision(state, park="needs_a_person")

    lab = await lab_of(doors(react=waits))
    with capture_logs() as logs:
        await lab.tell(Opened(door=1))
        await lab.rearm("watch", "1", "long", lab.now + HOUR, actor="ada")

    assert [one["event"] for one in logs].count("saga.parked") == 1
    assert (await lab.life("watch", "1")).parked_why == "needs_a_person"


async def test_a_report_of_an_earlier_life_misses_the_next(lab: Lab) -> None:
    """What an instance published is its own, though the key is the same."""
    lab.script(Alarm, TransientFailure("busy"))
    await lab.tell(Opened(door=1))
    await lab.elapse(MINUTE)  # the siren is busy
    lab.crash("siren")
    await lab.elapse(10 * SECOND)  # and now in somebody's hands: it cannot be withdrawn
    await lab.tell(Shut(door=1), Opened(door=1))
    await lab.elapse(30 * SECOND)

    assert await heard(lab) == [("opened", "timer", "first_failure", "shut"), ("opened",)]
    assert ("suppressed", "earlier_life") in [
        (t.outcome, t.reason) for t in await lab.traces("watch")
    ]


async def test_what_others_published_for_its_subject_is_heard_too(lab: Lab) -> None:
    await lab.tell(Opened(door=1), Alarm(door=1), Alarm(door=2))

    assert await heard(lab) == [("opened", "done")]


async def test_reports_come_in_order_and_each_kind_once(lab: Lab) -> None:
    lab.script(Alarm, TransientFailure("a"), PermanentFailure("b"))
    await lab.tell(Opened(door=1), Alarm(door=1))
    await lab.elapse(2 * MINUTE)

    assert await heard(lab) == [("opened", "first_failure", "dead", "timer", "done")]


async def test_an_unknown_outcome_and_a_suppressed_one_are_heard(lab: Lab) -> None:
    lab.script(Alarm, OutcomeUnknown("lost"))
    await lab.tell(Opened(door=1), Alarm(door=1))

    assert await heard(lab) == [("opened", "unknown")]


async def test_newest_only_reports_what_was_superseded(lab_of: Opening) -> None:
    lab = await lab_of(doors(order=Order.NEWEST))
    await lab.tell(Opened(door=1))
    for _ in range(3):
        await lab.publish(Alarm(door=1), key="door:1")
    await lab.run()

    assert await heard(lab) == [("opened", "superseded", "superseded", "done")]


async def test_a_timer_an_hour_overdue_fires_once(lab: Lab) -> None:
    await lab.tell(Opened(door=1))
    lab.advance(HOUR)  # nobody was there
    await lab.run()
    await lab.elapse(HOUR)

    assert await heard(lab) == [("opened", "timer", "done")]


async def test_a_timer_is_cancelled_with_its_instance_and_rearmed_by_a_person(lab: Lab) -> None:
    await lab.tell(Opened(door=1), Opened(door=2), Shut(door=1))
    await lab.rearm("watch", "2", "long", lab.now + HOUR, actor="ada")
    await lab.elapse(59 * MINUTE)
    early = await heard(lab, 2)
    await lab.elapse(MINUTE)

    assert await heard(lab, 1) == [("opened", "shut")]
    assert (early, await heard(lab, 2)) == ([("opened",)], [("opened", "timer", "done")])


async def test_what_finds_no_instance_is_decided_as_declared(lab: Lab) -> None:
    await lab.tell(Shut(door=1), Knocked(door=1))

    traced = [(t.topic, t.outcome, t.reason) for t in await lab.traces("watch")]
    assert traced == [
        ("door.shut", "suppressed", "no_instance"),
        ("door.knocked", "dead", "no_instance"),
    ]


async def test_what_came_before_its_starter_may_wait_for_it(lab_of: Opening) -> None:
    waiting = dict.fromkeys((Shut, Knocked), OnMissing.WAIT)
    lab = await lab_of(doors(on_missing=waiting))
    await lab.tell(Shut(door=1), Opened(door=1))
    await lab.elapse(2 * SECOND)

    assert await heard(lab) == [("opened", "shut")]


async def test_a_timer_that_was_not_declared_is_never_armed(lab: Lab) -> None:
    await lab.tell(Opened(door=1), Knocked(door=1))

    assert await heard(lab) == [("opened",)]
    assert (await lab.traces("watch"))[-1].reason == "timer_undeclared"


async def test_a_watched_message_that_breaks_correlate_harms_only_its_report(
    lab_of: Opening,
) -> None:
    """The siren's settlement stands; the report becomes a dead letter that tells of the mistake."""

    def broken(message: Any) -> str:
        if isinstance(message, Alarm):
            raise KeyError("door")
        return str(message.door)

    lab = await lab_of(doors(correlate=broken))
    await lab.tell(Alarm(door=1))

    assert [(t.handler, t.outcome, t.reason) for t in await lab.traces()] == [
        ("siren", "done", None),
        ("watch", "dead", "report_uncorrelated"),
    ]


@pytest.mark.parametrize(
    ("correlate", "says"),
    [
        ("window", "Opened cannot be correlated: it has no field 'window'"),
        ({Opened: str}, "Shut cannot be correlated: `correlate` leaves it out"),
    ],
)
def test_a_message_that_cannot_be_correlated_is_refused(correlate: Any, says: str) -> None:
    with pytest.raises(SagaInvalid, match=says):
        saga(correlate=correlate)


async def test_a_lab_says_what_it_does_not_have(lab: Lab) -> None:
    with pytest.raises(LookupError, match="no instance of '9'; there are none"):
        await lab.life("watch", "9")
    with pytest.raises(UsageError, match="no saga 'clock'; there are watch"):
        await lab.lives("clock")
    with pytest.raises(UsageError, match="no handler 'bell' to crash; there are siren, watch"):
        lab.crash("bell")


async def scenario(lab: Lab) -> None:
    """A bit of everything."""
    lab.script(Alarm, TransientFailure("a"), PermanentFailure("b"), OutcomeUnknown("c"), Dead("d"))
    for door in (1, 2, 1):  # a moment apart: what falls due at one instant has no order
        await lab.tell(Opened(door=door))
        await lab.elapse(SECOND)
    await lab.tell(Shut(door=3))
    await lab.elapse(MINUTE)
    lab.crash("siren", Crash.AFTER_CALL)
    lab.crash("watch")
    await lab.tell(Alarm(door=1), Opened(door=4), key="x")
    await lab.elapse(5 * MINUTE)
    for _ in range(4):
        lab.crash("watch")
    await lab.tell(Opened(door=5))
    await lab.elapse(5 * MINUTE)
    await lab.redrive()
    await lab.elapse(SECOND)
    await lab.tell(Shut(door=2), Opened(door=2))
    await lab.elapse(2 * HOUR)


async def everything(lab: Lab) -> dict[str, Any]:
    lives = await lab.lives("watch")
    return {
        "lives": [(v.key, v.state, v.version, v.ended, v.timers) for v in lives],
        "lines": {v.key: await lab.timeline("watch", v.key) for v in lives},
        "said": sorted(map(str, await lab.said())),  # what is redriven at once has no order
        "traces": sorted(await lab.traces(), key=lambda t: (t.handler, t.topic, t.attempt)),
        "calls": sorted(map(str, lab.calls())),
    }


async def test_both_labs_tell_the_same_story(database: str) -> None:
    async with Lab.memory(doors()) as memory, Lab.postgres(doors(), database) as postgres:
        await scenario(memory)
        await scenario(postgres)
        imagined, real = await everything(memory), await everything(postgres)

    for part in imagined:
        assert imagined[part] == real[part], part
    assert len(real["traces"]) > 30
