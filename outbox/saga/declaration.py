"""What a saga declares, and what its pure `react` decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from outbox.errors import SagaInvalid
from outbox.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from outbox.publish import Publication


class SagaState(BaseModel):
    """The memory of one instance: frozen, stored as JSON with the declaration's `state_version`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=SagaState)


class Report(StrEnum):
    """Outcomes of other people's deliveries that a saga can watch, per topic."""

    DONE = "done"
    FIRST_FAILURE = "first_failure"
    DEAD = "dead"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"


class TimedOut(Message, topic="outbox.timer"):
    """An instance's timer has come due; `generation` tells a re-armed one from its predecessor."""

    saga_id: int
    key: str
    name: str
    generation: int


class DeliveryReport(Message, topic="outbox.report"):
    """How a delivery of a watched topic ended. `payload` is that message's own."""

    key: str
    topic_of: str
    version_of: int
    handler: str
    delivery_id: int
    report: Report
    reason: str | None
    attempt: int
    receipt: dict[str, Any]
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Timer:
    """A message to oneself at `at` (aware); arming a name again replaces the earlier timer."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """The next state and everything that leaves with it, in one commit.

    `withdraw` names topics: what this instance published of them and nobody has begun is taken
    back. `end` closes the instance; its timers are cancelled. `note` is a short code for the
    timeline.
    """

    state: S
    publish: tuple[Publication, ...] = ()
    arm: tuple[Timer, ...] = ()
    cancel: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    end: bool = False
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
    `handles` are further classes; `correlate` gives the instance key of any of them and of every
    watched message; `watches` maps topics to the reports wanted; `timers` are the names `react` may
    arm. A message that finds no instance and cannot start one is dropped as `no_instance` when its
    class is in `missing_ok`. `upcasters[n]` turns stored JSON of state version n into n + 1. Raises
    `SagaInvalid` where a case is left open.
    """

    name: str
    state: type[S]
    react: Callable[..., Decision[S]]
    correlate: Callable[[Any], str]
    starts: Mapping[type[Message], Callable[[Any], S]]
    handles: tuple[type[Message], ...] = ()
    missing_ok: tuple[type[Message], ...] = ()
    watches: Mapping[str, frozenset[Report]] = field(default_factory=dict)
    timers: frozenset[str] = frozenset()
    state_version: int = 1
    upcasters: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        """Refuse a declaration that leaves a case open, and say which."""
        if not self.starts:
            raise SagaInvalid(
                self.name, "nothing starts it; give at least one message class in `starts`"
            )
        for message in self.handles:
            if message not in self.starts and message not in self.missing_ok:
                raise SagaInvalid(
                    self.name,
                    f"{message.__name__} can neither start an instance nor be missing one; "
                    "put it into `starts` or `missing_ok`",
                )
        for version in range(1, self.state_version):
            if version not in self.upcasters:
                raise SagaInvalid(
                    self.name,
                    f"states stored at version {version} have no upcaster to {version + 1}",
                )

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
        import json  # noqa: PLC0415 - only for states of an earlier version

        values = json.loads(stored)
        for version in range(stored_version, self.state_version):
            values = self.upcasters[version](values)
        return self.state.model_validate(values)
