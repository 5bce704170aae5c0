"""A Hypothesis machine for any saga: messages late, doubled, lost and tried again, out of order.

Needs `hypothesis`. A test is one line beside your own invariants:

    TestTrip = saga_machine(app, messages=orders, invariants=[no_room_without_flight]).TestCase
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from outbox.errors import OutcomeUnknown, PermanentFailure, TransientFailure
from outbox.handler import Effect
from outbox.outcome import Done
from outbox.testing.lab import Lab
from outbox.testing.lab_replies import Crash

if TYPE_CHECKING:
    from outbox.app import App
    from outbox.message import Message
    from outbox.testing.lab_replies import Reply

Look: TypeAlias = Callable[[Lab], Awaitable[None]]
"""Asserts something of a lab, by what it shows."""

ROUNDS_MAX = 500
"""How many due dates are worked off after faults have stopped before it counts as no rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a machine is told. `well` is what a handler answers when all is well, by its name."""

    app: App
    messages: st.SearchStrategy[Message]
    invariants: Sequence[Look] = ()
    at_rest: Sequence[Look] = ()
    well: Mapping[str, Reply] = field(default_factory=dict)
    replies: Mapping[str, st.SearchStrategy[Reply]] = field(default_factory=dict)
    key: Callable[[Any], str | None] = lambda _: None
    before: Look | None = None
    rest_for: timedelta = timedelta(days=3)


def saga_machine(
    app: App,
    *,
    messages: st.SearchStrategy[Message],
    invariants: Sequence[Look] = (),
    at_rest: Sequence[Look] = (),
    **terms: Any,
) -> type[RuleBasedStateMachine]:
    """A machine over the sagas of `app`, in memory; its `TestCase` is what pytest collects.

    Messages are drawn, published under `key` (none: in no order) and sometimes again later;
    deliveries are tried in any order that ordering keys allow, timers among them; handlers answer
    anything that their effect allows, or what `replies` draws for them by name; processes die
    before a call and after it, and time passes. `invariants` hold after each step. At the end
    faults stop, handlers answer what `well` says (`Done()` if nothing), `rest_for` passes, and
    `at_rest` must hold. `before` prepares each lab.

    Whatever a saga decides must be decided: a saga whose delivery fails or dies fails the test.
    """
    told = Terms(app=app, messages=messages, invariants=invariants, at_rest=at_rest, **terms)

    class SagaMachine(_SagaMachine):
        """The machine of these terms."""

        terms = told

    return SagaMachine


class _SagaMachine(RuleBasedStateMachine):
    terms: Terms

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self.lab = Lab.in_memory(self.terms.app)
        self._said: list[Message] = []
        self._faulty = {
            name: self.terms.replies.get(name, _any_answer(handler.effect, self._well(name)))
            for name, handler in self.terms.app.handlers.items()
            if name not in self.terms.app.sagas
        }
        self._all_is_well()
        if self.terms.before is not None:
            self._runner.run(self._look([self.terms.before]))

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Somebody says something."""
        message = data.draw(self.terms.messages, label="message")
        self._said.append(message)
        self._publish(message)

    @precondition(lambda self: self._said)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        """Somebody says it twice: a producer without a dedup key, or one that was late."""
        self._publish(data.draw(st.sampled_from(self._said), label="again"))

    @precondition(lambda self: self.lab.due())
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """One delivery is tried, whichever: reports, timers and messages in any order."""
        delivery_id = data.draw(st.sampled_from(self.lab.due()), label="delivery")
        handler = self.lab.handler_of(delivery_id)
        if handler in self._faulty:
            self.lab.script(handler, data.draw(self._faulty[handler], label=handler))
        self._runner.run(self.lab.deliver(delivery_id))

    @precondition(lambda self: self.lab.due())
    @rule(data=st.data(), at=st.sampled_from(Crash))
    def die(self, data: st.DataObject, at: Crash) -> None:
        """The process that tries a delivery dies."""
        delivery_id = data.draw(st.sampled_from(self.lab.due()), label="delivery")
        self.lab.crash(self.lab.handler_of(delivery_id), at)
        self._runner.run(self.lab.deliver(delivery_id))

    @rule(seconds=st.sampled_from([1, 30, 60, 600, 3_600, 86_400]))
    def wait(self, seconds: int) -> None:
        """Time passes and nobody works; leases that have run out are decided about."""
        self.lab.advance(timedelta(seconds=seconds))
        self._runner.run(self.lab.expire())

    @rule()
    def work(self) -> None:
        """Everybody works, and all is well for once."""
        self._runner.run(self.lab.run())

    @invariant()
    def holds(self) -> None:
        """Nothing was raised where it should have been decided, and the user's own words."""
        self._runner.run(self._look(self.terms.invariants))

    def teardown(self) -> None:
        """Faults stop; after a while all must be at rest."""
        try:
            self._runner.run(self._rest())
        finally:
            self._runner.close()

    def _publish(self, message: Message) -> None:
        self._runner.run(self.lab.publish(message, key=self.terms.key(message)))

    def _all_is_well(self) -> None:
        for handler in self._faulty:
            self.lab.always(handler, self._well(handler))

    def _well(self, handler: str) -> Reply:
        return self.terms.well.get(handler, Done())

    async def _look(self, looks: Sequence[Look]) -> None:
        sagas = self.terms.app.sagas
        for trace in await self.lab.traces():
            broke = trace.handler in sagas and trace.outcome == "dead" and trace.reason != "poison"
            assert not broke, f"saga {trace.handler} died of {trace.topic}: {trace.reason}"
        for look in looks:
            await look(self.lab)

    async def _rest(self) -> None:
        self._all_is_well()
        for saga in self.terms.app.sagas:
            await self.lab.redrive(saga)  # what its killers' deaths have buried
        until = self.lab.now + self.terms.rest_for
        await self.lab.run()
        for _ in range(ROUNDS_MAX):
            at = await self.lab.next_due()
            if at is None or at > until:
                break
            self.lab.clock.set(at)
            await self.lab.run()
        await self._look(self.terms.invariants)
        await self._look(self.terms.at_rest)


def _any_answer(effect: Effect, well: Reply) -> st.SearchStrategy[Reply]:
    """Whatever a handler of that effect may come to."""
    answers: list[Reply] = [well, well, TransientFailure("busy"), PermanentFailure("refused")]
    if effect is Effect.AMBIGUOUS:
        answers.append(OutcomeUnknown("lost"))
    return st.sampled_from(answers)
