"""The state of a linear flow: where it stands, what was done, and what is left to undo."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from outbox.saga.declaration import SagaState


class Phase(StrEnum):
    """Which way a flow goes."""

    NEW = "new"
    DOING = "doing"
    UNDOING = "undoing"
    PARKED = "parked"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


class Progress(SagaState):
    """Where one instance stands. `at` is the step being done or undone; `undo` what is left.

    `why` tells why the flow turned, `parked` why it asks for a person.
    """

    start: dict[str, Any]
    phase: Phase = Phase.NEW
    at: str | None = None
    done: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    why: str | None = None
    parked: str | None = None
    receipts: dict[str, dict[str, Any]] = Field(default_factory=dict)
