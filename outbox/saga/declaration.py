"""What a saga declares, and what its pure `react` decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from outbox.errors import SagaInvalid
from outbox.saga.messages import DeliveryReport, Report, TimedOut

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.message import Message
    from outbox.publication import Publication


class SagaState(BaseModel):
    """The memory of one instance: frozen, stored as JSON with the declaration's `state_version`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=SagaState)

Correlate: TypeAlias = (
    "Callable[[Any], str | None] | str | Mapping[type[Message], Callable[[Any], str | None]]"
)


class OnMissing(StrEnum):
    """What becomes of a message that finds no open instance and cannot start one."""

    IGNORE = "ignore"
    """It is settled as suppressed, `no_instance`: expected, since it may come late."""
    WAIT = "wait"
    """It is tried again by the retry policy, then dead: it may have come before its starter."""
    DEAD = "dead"
    """A dead letter at once: there must have been an instance."""


@dataclass(frozen=True, slots=True)
class Timer:
    """A message to oneself at `at` (aware); arming a name again replaces the earlier timer."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """The next state and everything that leaves with it, in one commit.

    `withdraw` names topics: what this instance published of them and nobody has begun is taken
    back. `revoke` is the stronger word: of these topics nothing of this instance can run any more,
    dead letters and unknown outcomes included; a call in flight loses its lease, and what the
    decision publishes waits until it must have ended. `end` closes the instance; its timers are
    cancelled. `park` is a short code that asks for a person, until the next transition. `note` is a
    short code for the timeline.
    """

    state: S
    publish: tuple[Publication, ...] = ()
    arm: tuple[Timer, ...] = ()
    cancel: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    revoke: tuple[str, ...] = ()
    end: bool = False
    park: str | None = None
    note: str = ""
    ignored: bool = False

    @classmethod
    def ignore(cls, state: S, why: str = "late_or_doubled") -> Decision[S]:
        """Nothing changes: late, doubled or out of order, which is expected."""
        return cls(state, note=why, ignored=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga(Generic[S]):
    """A handler with memory.

    `starts` maps each message class that may begin an instance to the initial state it gives;
    `handles` are further classes, and `on_missing` says of each what happens when it finds no
    instance. `correlate` gives the instance key of any of them and of every watched message (None:
    it concerns no instance): a function, the name of a field that all of them have, or a function
    per class. `watches` maps topics to the reports wanted; `timers` are the names that `react`
    arms and handles. `upcasters[n]` turns stored JSON of state version n into n + 1; versions that
    are stored nowhere any more need none (a relay asks the database when it starts). `private`
    are state fields whose values the timeline does not keep; `describe` tells a published message
    in words that may be shown; `check` says what today's code cannot follow in a stored state
    (None: nothing), for `saga lint`. Raises `SagaInvalid` where a case is left open.
    """

    name: str
    state: type[S]
    react: Callable[..., Decision[S]]
    correlate: Correlate
    starts: Mapping[type[Message], Callable[[Any], S]]
    handles: tuple[type[Message], ...] = ()
    on_missing: Mapping[type[Message], OnMissing] = field(default_factory=dict)
    watches: Mapping[str, frozenset[Report]] = field(default_factory=dict)
    timers: frozenset[str] = frozenset()
    state_version: int = 1
    upcasters: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = field(
        default_factory=dict
    )
    private: frozenset[str] = frozenset()
    describe: Callable[[Any], str] | None = None
    check: Callable[[S], str | None] | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration that leaves a case open, and say which."""
        if not self.starts:
            raise SagaInvalid(
                self.name, "nothing starts it; give at least one message class in `starts`"
            )
        for message in self.handles:
            if message not in self.starts and message not in self.on_missing:
                raise SagaInvalid(
                    self.name,
                    f"{message.__name__} can neither start an instance nor be missing one; "
                    "put it into `starts` or `on_missing`",
                )
        for message in (*self.starts, *self.handles):
            self._check_correlation(message)
        oldest = min(self.upcasters, default=self.state_version - 1)
        for version in range(max(oldest, 1), self.state_version):
            if version not in self.upcasters:
                raise SagaInvalid(
                    self.name,
                    f"states stored at version {version} have no upcaster to {version + 1}; "
                    f"give one as upcasters[{version}]",
                )

    def _check_correlation(self, message: type[Message]) -> None:
        correlate = self.correlate
        if isinstance(correlate, str):
            if correlate not in message.model_fields:
                raise SagaInvalid(
                    self.name,
                    f"{message.__name__} cannot be correlated: it has no field {correlate!r}; "
                    f"it has {', '.join(message.model_fields) or 'none'}",
                )
        elif isinstance(correlate, Mapping) and message not in correlate:
            raise SagaInvalid(
                self.name, f"{message.__name__} cannot be correlated: `correlate` leaves it out"
            )

    def key_of(self, message: Message) -> str | None:
        """The key of the instance that `message` concerns; None: of none."""
        correlate = self.correlate
        if isinstance(correlate, str):
            value = getattr(message, correlate, None)
            return None if value is None else str(value)
        if isinstance(correlate, Mapping):
            by_class = correlate.get(type(message))
            return None if by_class is None else by_class(message)
        return correlate(message)

    @property
    def messages(self) -> tuple[type[Message], ...]:
        """Every message class its handler takes."""
        return (*dict.fromkeys((*self.starts, *self.handles)), TimedOut, DeliveryReport)

    def read(self, stored: str, stored_version: int) -> S:
        """The state kept as JSON by this or an older version; a newer one raises `SagaInvalid`."""
        if stored_version > self.state_version:
            raise SagaInvalid(
                self.name, f"a state of version {stored_version} was stored by a newer program"
            )
        if stored_version == self.state_version:
            return self.state.model_validate_json(stored)
        values = json.loads(stored)
        for version in range(stored_version, self.state_version):
            upcast = self.upcasters.get(version)
            if upcast is None:
                raise SagaInvalid(self.name, f"states stored at version {version} have no upcaster")
            values = upcast(values)
        return self.state.model_validate_json(json.dumps(values))
