"""The engine's own messages to a saga: timers, reports, and what a person asks of an instance."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from outbox.message import Message


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
    """How a delivery of a watched topic ended. `payload` is that message's own.

    `key` is the instance it concerns; None where the saga's own `correlate` failed on it.
    `saga_id` is the instance that published the message, if one of this saga did: a report on what
    an earlier life published never reaches the next one.
    """

    key: str | None
    topic_of: str
    version_of: int
    handler: str
    delivery_id: int
    report: Report
    reason: str | None
    attempt: int
    receipt: dict[str, Any]
    payload: dict[str, Any]
    saga_id: int | None = None


class SkipStep(Message, topic="outbox.skip"):
    """A person asks that an instance go on without `step`."""

    step: str
    why: str
    actor: str


class Compensate(Message, topic="outbox.compensate"):
    """A person asks that an instance undo what it has done (or try again to)."""

    why: str
    actor: str
