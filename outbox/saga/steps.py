"""Linear flows with compensation: `Steps(...).do(...).undo(...)`, compiled to a saga like any.

A step is a command that is published, and the report of how it ended. The flow goes forward as
long as steps end well. When one dies for good, stays unknown or takes longer than it may, the flow
turns: whatever of it could still run is revoked, and what was done is undone in reverse order. A
step of which nobody can tell whether it happened is undone too, so an undo tolerates "never
happened". An undo is retried by its own handler's policy; when that gives up, the instance is
parked for a person.

| where it stands    | what comes                     | what follows                               |
|--------------------|--------------------------------|--------------------------------------------|
| doing step n       | done, suppressed               | step n + 1, or the end: completed          |
|                    | dead: refused; superseded      | turn; step n did not happen                |
|                    | dead: attempts or age used up  | turn; n may have happened: undone too      |
|                    | unknown                        | wait `unknown_for`; turn, n undone too     |
|                    | timer `deadline`, a person     | turn, n undone too                         |
| undoing step n     | done, suppressed               | undo n - 1, or the end: compensated        |
|                    | dead, superseded               | parked                                     |
|                    | unknown                        | wait `unknown_for`; parked                 |
| parked at step n   | done (somebody redrove it)     | undo n - 1, or the end                     |
|                    | a person: compensate           | the undo is published again                |
| doing, parked at n | a person: skip                 | on as if n needed nothing                  |
| turned             | any report of a step           | revoked again: nothing of it may run       |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from outbox.errors import SagaInvalid
from outbox.message import Message
from outbox.publication import Publication
from outbox.saga.declaration import Decision, Saga, Timer
from outbox.saga.messages import Compensate, DeliveryReport, Report, SkipStep, TimedOut
from outbox.saga.progress import Phase, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from outbox.saga.declaration import Correlate

M = TypeVar("M", bound=Message)

UNKNOWN_FOR: Final = timedelta(minutes=10)
"""How long an unknown outcome may still become known before the flow turns, or parks."""

DEADLINE: Final = "deadline"
UNKNOWN: Final = "unknown"
_WATCHED: Final = frozenset(Report) - {Report.FIRST_FAILURE}
_UNCERTAIN: Final = ("attempts_exhausted", "age_exceeded", "poison")
"""Reasons of a dead letter that do not say that nothing happened."""


@dataclass(frozen=True, slots=True)
class Flow(Generic[M]):
    """What a step's command is made of: what began the flow, and the receipts of steps done."""

    start: M
    receipts: dict[str, dict[str, Any]]


Make: TypeAlias = "Callable[[Flow[M]], Message | Publication]"
"""How a step's command is made; a `Publication` where it needs terms (a key, a priority)."""


@dataclass(frozen=True, slots=True)
class Step(Generic[M]):
    """One step as declared."""

    name: str
    command: type[Message]
    make: Make[M]
    within: timedelta | None
    undo: type[Message] | None = None
    make_undo: Make[M] | None = None


@dataclass(frozen=True, slots=True)
class Steps(Generic[M]):
    """A linear flow in the making; `saga()` compiles it. Each call gives a new one.

    `start` is the message class that begins an instance, `correlate` its key as in `Saga`.
    """

    name: str
    start: type[M]
    correlate: Correlate
    unknown_for: timedelta = UNKNOWN_FOR
    steps: tuple[Step[M], ...] = field(default=(), kw_only=True)

    def do(
        self,
        name: str,
        command: type[Message],
        make: Make[M] | None = None,
        *,
        within: timedelta | None = None,
    ) -> Steps[M]:
        """Add a step. Without `make` its command takes the fields of `start` of the same name.

        `within`: how long it may take, holds, pauses and retries included; then the flow turns.
        Raises `SagaInvalid`.
        """
        if any(step.name == name for step in self.steps):
            raise SagaInvalid(self.name, f"two steps are named {name!r}; give each its own name")
        step = Step(name, command, make or self._copying(command), within)
        return replace(self, steps=(*self.steps, step))

    def undo(self, command: type[Message], make: Make[M] | None = None) -> Steps[M]:
        """Say what takes back the step added last. Raises `SagaInvalid`."""
        if not self.steps or self.steps[-1].undo is not None:
            raise SagaInvalid(self.name, "`undo` belongs to the one `do` before it")
        made = make or self._copying(command)
        last = replace(self.steps[-1], undo=command, make_undo=made)
        return replace(self, steps=(*self.steps[:-1], last))

    def saga(self) -> Saga[Progress]:
        """The flow as a saga. Raises `SagaInvalid` where it cannot be followed."""
        if not self.steps:
            raise SagaInvalid(self.name, "it has no steps; add some with `do`")
        topics = [command.declaration.topic for command in self._commands()]
        doubled = sorted({topic for topic in topics if topics.count(topic) > 1})
        if doubled:
            raise SagaInvalid(
                self.name,
                f"{', '.join(doubled)} is the command of two steps: a report could not say of "
                "which; give each step a topic of its own",
            )
        by = self.correlate
        return Saga(
            name=self.name,
            state=Progress,
            react=self.react,
            # what a flow publishes is found by who published it; others' commands are not its own
            correlate=by if isinstance(by, Mapping) else {self.start: self._keyed(by)},
            starts={self.start: self._initial},
            watches=dict.fromkeys(topics, _WATCHED),
            timers=frozenset({DEADLINE, UNKNOWN}),
            private=frozenset({"start", "receipts"}),
            check=self._unfollowed,
        )

    def react(  # noqa: PLR0911 - one per kind of message
        self, state: Progress, message: Message, *, now: datetime
    ) -> Decision[Progress]:
        """Decide by the table above. Pure."""
        match message:
            case DeliveryReport(saga_id=None):
                return Decision.ignore(state, "published_by_others")
            case DeliveryReport():
                return self._reported(state, message, now)
            case TimedOut(name=name) if state.at is not None:
                return self._timed_out(state, name, now)
            case SkipStep(step=step):
                return self._skip(state, step, now)
            case Compensate() if state.phase is Phase.DOING:
                return self._turn(state, now, why="by_a_person", uncertain=True)
            case Compensate() if state.phase is Phase.PARKED:
                return self._undo_next(state, now, note="undo_again", again=True)
            case _ if isinstance(message, self.start) and state.phase is Phase.NEW:
                return self._do_next(state, now)
            case _:
                return Decision.ignore(state)

    def _reported(
        self, state: Progress, report: DeliveryReport, now: datetime
    ) -> Decision[Progress]:
        at = self._step(state.at)
        if state.phase is Phase.DOING and at and report.topic_of == at.command.declaration.topic:
            return self._done_or_not(state, at, report, now)
        undoing = state.phase in {Phase.UNDOING, Phase.PARKED} and at is not None
        if undoing and at and at.undo and report.topic_of == at.undo.declaration.topic:
            return self._undone_or_not(state, report, now)
        turned = state.phase is not Phase.DOING
        if turned and report.topic_of in {step.command.declaration.topic for step in self.steps}:
            again = (report.topic_of,)
            return Decision(state, revoke=again, park=state.parked, note="revoked_again")
        return Decision.ignore(state)

    def _done_or_not(
        self, state: Progress, at: Step[M], report: DeliveryReport, now: datetime
    ) -> Decision[Progress]:
        match report.report:
            case Report.DONE | Report.SUPPRESSED:
                receipts = {**state.receipts, at.name: report.receipt}
                done = state.model_copy(
                    update={"done": (*state.done, at.name), "receipts": receipts}
                )
                return self._do_next(done, now)
            case Report.UNKNOWN:
                wait = Timer(UNKNOWN, now + self.unknown_for)
                return Decision(state, arm=(wait,), note="unknown")
            case _:
                reason = report.reason or str(report.report)
                uncertain = report.report is Report.DEAD and reason.startswith(_UNCERTAIN)
                return self._turn(state, now, why=reason, uncertain=uncertain)

    def _undone_or_not(
        self, state: Progress, report: DeliveryReport, now: datetime
    ) -> Decision[Progress]:
        match report.report:
            case Report.DONE | Report.SUPPRESSED:
                return self._undo_next(_undone(state), now)
            case _ if state.phase is Phase.PARKED:
                return Decision.ignore(state, "still_parked")
            case Report.UNKNOWN:
                wait = Timer(UNKNOWN, now + self.unknown_for)
                return Decision(state, arm=(wait,), note="undo_unknown")
            case _:
                return _park(state, report.reason or str(report.report))

    def _timed_out(self, state: Progress, name: str, now: datetime) -> Decision[Progress]:
        match state.phase:
            case Phase.DOING:
                why = "stayed_unknown" if name == UNKNOWN else "deadline_passed"
                return self._turn(state, now, why=why, uncertain=True)
            case Phase.UNDOING if name == UNKNOWN:
                return _park(state, "stayed_unknown")
            case _:
                return Decision.ignore(state)

    def _skip(self, state: Progress, step: str, now: datetime) -> Decision[Progress]:
        at = self._step(state.at)
        if at is None or at.name != step:
            return Decision.ignore(state, f"it stands at {state.at or 'no step'}")
        skipped = state.model_copy(update={"skipped": (*state.skipped, step)})
        if state.phase is Phase.DOING:
            topic = at.command.declaration.topic
            return replace(self._do_next(skipped, now), revoke=(topic,))
        topics = () if at.undo is None else (at.undo.declaration.topic,)
        return replace(self._undo_next(_undone(skipped), now), revoke=topics)

    def _do_next(self, state: Progress, now: datetime) -> Decision[Progress]:
        behind = {*state.done, *state.skipped}
        reached = [place for place, step in enumerate(self.steps) if step.name in behind]
        ahead = self.steps[reached[-1] + 1 :] if reached else self.steps
        if not ahead:
            ended = state.model_copy(update={"phase": Phase.COMPLETED, "at": None})
            return Decision(ended, end=True, note="completed")
        step = ahead[0]
        doing = state.model_copy(update={"phase": Phase.DOING, "at": step.name})
        deadline = () if step.within is None else (Timer(DEADLINE, now + step.within),)
        return Decision(
            doing,
            publish=(_publication(step.make(self._flow(state))),),
            arm=deadline,
            cancel=(UNKNOWN, DEADLINE),
            note=f"do_{step.name}",
        )

    def _turn(
        self, state: Progress, now: datetime, *, why: str, uncertain: bool
    ) -> Decision[Progress]:
        undo = [*state.done, *([state.at] if uncertain and state.at is not None else [])]
        turned = state.model_copy(
            update={"phase": Phase.UNDOING, "undo": tuple(undo), "why": why, "at": None}
        )
        tried = (*state.done, *([] if state.at is None else [state.at]))
        topics = tuple(step.command.declaration.topic for step in self.steps if step.name in tried)
        return replace(self._undo_next(turned, now), revoke=topics)

    def _undo_next(
        self, state: Progress, now: datetime, *, note: str | None = None, again: bool = False
    ) -> Decision[Progress]:
        del now  # an undo has no deadline: it is tried until it is done or a person decides
        left = [name for name in state.undo if self._undoes(name)]
        if not left:
            ended = state.model_copy(
                update={"phase": Phase.COMPENSATED, "at": None, "undo": (), "parked": None}
            )
            return Decision(ended, end=True, note="compensated")
        step = self._step(left[-1])
        assert step is not None, "states name steps of this flow"
        assert step.make_undo is not None, "steps without an undo were left out"
        assert step.undo is not None, "as above"
        undoing = state.model_copy(
            update={"phase": Phase.UNDOING, "at": step.name, "undo": tuple(left), "parked": None}
        )
        return Decision(
            undoing,
            publish=(_publication(step.make_undo(self._flow(state))),),
            cancel=(UNKNOWN, DEADLINE),
            revoke=(step.undo.declaration.topic,) if again else (),
            note=note or f"undo_{step.name}",
        )

    def _undoes(self, name: str) -> bool:
        step = self._step(name)
        return step is not None and step.undo is not None

    def _step(self, name: str | None) -> Step[M] | None:
        return next((step for step in self.steps if step.name == name), None)

    def _flow(self, state: Progress) -> Flow[M]:
        return Flow(self.start.model_validate(state.start), dict(state.receipts))

    def _initial(self, message: M) -> Progress:
        return Progress(start=message.model_dump(mode="json"))

    def _unfollowed(self, state: Progress) -> str | None:
        named = {*state.done, *state.undo, *([] if state.at is None else [state.at])}
        unknown = sorted(named - {step.name for step in self.steps})
        return f"it stands on steps that are no more: {', '.join(unknown)}" if unknown else None

    def _keyed(self, correlate: Callable[[Any], str | None] | str) -> Callable[[Any], str | None]:
        if not isinstance(correlate, str):
            return correlate
        if correlate not in self.start.model_fields:
            raise SagaInvalid(
                self.name,
                f"{self.start.__name__} cannot be correlated: it has no field {correlate!r}",
            )
        return lambda message: str(getattr(message, correlate))

    def _commands(self) -> Iterator[type[Message]]:
        for step in self.steps:
            yield step.command
            if step.undo is not None:
                yield step.undo

    def _copying(self, command: type[Message]) -> Make[M]:
        fields = [name for name in command.model_fields if name in self.start.model_fields]
        missing = [
            name
            for name, declared in command.model_fields.items()
            if declared.is_required() and name not in fields
        ]
        if missing:
            raise SagaInvalid(
                self.name,
                f"{command.__name__} needs {', '.join(missing)}, which {self.start.__name__} "
                "does not have; say how it is made",
            )

        def copy(flow: Flow[M]) -> Message:
            return command(**{name: getattr(flow.start, name) for name in fields})

        return copy


def _publication(made: Message | Publication) -> Publication:
    return made if isinstance(made, Publication) else Publication(message=made)


def _undone(state: Progress) -> Progress:
    at = state.at
    assert at is not None, "asked where a step is being undone"
    left = tuple(name for name in state.undo if name != at)
    undone = state.undone if at in state.skipped else (*state.undone, at)
    return state.model_copy(update={"undo": left, "undone": undone})


def _park(state: Progress, why: str) -> Decision[Progress]:
    parked = state.model_copy(update={"phase": Phase.PARKED, "parked": why})
    return Decision(parked, park=why, note=f"parked_{state.at}")
