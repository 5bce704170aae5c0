"""What the doctor finds, and the facts it decides about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox import queries_doctor
    from outbox.inspection import DestinationState, HandlerDepth, RelaySeen, UnroutedTopic
    from outbox.queries_doctor import Index, Server, Snapshot, Table, TicketsOut, WorkerSeen
    from outbox.queries_routes import Route
    from outbox.self_audit import Trouble


class Severity(StrEnum):
    """How bad: an `error` breaks a promise, a `warning` wants a person, a `note` wants reading."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    check: str
    what: str
    why: str
    cure: str


def error(check: str, what: str, why: str, cure: str) -> Finding:
    """Something that breaks a promise."""
    return Finding(Severity.ERROR, check, what, why, cure)


def warning(check: str, what: str, why: str, cure: str) -> Finding:
    """Something that wants a person."""
    return Finding(Severity.WARNING, check, what, why, cure)


def note(check: str, what: str, why: str, cure: str) -> Finding:
    """Something to know."""
    return Finding(Severity.NOTE, check, what, why, cure)


@dataclass(frozen=True, slots=True)
class HistoryState:
    """One schema history: where the database is, what the code knows, newest first."""

    name: str
    found: str | None
    known: Sequence[str]
    suits: bool = False
    """Whether a revision that this code does not know says that this code may run on it."""

    @property
    def usable(self) -> bool:
        """Whether this code may work with it."""
        return self.found is not None and (self.found == self.known[0] or self.suits)


@dataclass(frozen=True, slots=True)
class Bell:
    """How the bell does: rung through the one address, heard at the other."""

    heard: bool
    own_address: bool
    pooled: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the checks look at. What could not be read is empty and named in `unread`."""

    histories: Sequence[HistoryState] = ()
    expected: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    """Index -> (its table, its columns where the revision spells them), as revisions made them."""
    indexes: Sequence[Index] = ()
    tables: Sequence[Table] = ()
    tables_expected: Sequence[str] = ()
    server: Server | None = None
    host_clock: datetime | None = None
    bell: Bell | None = None
    snapshots: Sequence[Snapshot] = ()
    sequences: Sequence[queries_doctor.Sequence] = ()
    depths: Sequence[HandlerDepth] = ()
    routes: Sequence[Route] = ()
    unrouted: Sequence[UnroutedTopic] = ()
    relays: Sequence[RelaySeen] = ()
    workers: Sequence[WorkerSeen] = ()
    tickets: Sequence[TicketsOut] = ()
    destinations: Sequence[DestinationState] = ()
    handlers: Sequence[str] = ()
    """The handlers of the application that was asked about."""
    troubles: Sequence[Trouble] = ()
    own: Sequence[Finding] = ()
    """What the application's own doctor has found."""
    unread: Sequence[str] = ()

    @property
    def live(self) -> list[RelaySeen]:
        """Relays seen within a minute."""
        return [one for one in self.relays if one.unseen_for < timedelta(minutes=1)]

    @property
    def served(self) -> set[str]:
        """Handlers that a live relay runs."""
        return {name for relay in self.live for name in relay.handlers}
