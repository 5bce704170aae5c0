"""How the emulated portal misbehaves: scripted per route and mentor, taken in order, then gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


class Route(StrEnum):
    """What a request asks of the portal."""

    SET = "set"
    READ = "read"
    LIST = "list"
    HEALTH = "health"
    TOKEN = "token"  # noqa: S105  # the name of a route


class Silence(StrEnum):
    """How no answer comes."""

    HANG = "hang"
    DROP = "drop"


class ListingFault(StrEnum):
    """How a listing breaks its promises."""

    REPEATED_CURSOR = "repeated_cursor"
    REPEATED_MENTOR = "repeated_mentor"
    MOVED_SNAPSHOT = "moved_snapshot"


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong answer.

    `applied` carries the request out first and withholds its true answer; with `silence` no answer
    comes at all, otherwise `status`, `body` and the headers go out as they are.
    """

    status: int
    body: bytes
    content_type: str
    retry_after: str | None = None
    location: str | None = None
    applied: bool = False
    silence: Silence | None = None


@dataclass(slots=True)
class _Entry:
    fault: Fault
    routes: frozenset[Route]
    mentor: UUID | None
    left: int | None  # None: until healed


@dataclass(slots=True)
class FaultScript:
    """Faults waiting for their request; the one scripted first is taken first."""

    _entries: list[_Entry] = field(default_factory=list)

    def add(
        self, fault: Fault, *, routes: frozenset[Route], mentor: UUID | None, times: int | None
    ) -> None:
        """Queue `fault` for the next `times` matching requests, None meaning until `clear`."""
        self._entries.append(_Entry(fault, routes, mentor, times))

    def take(self, route: Route, mentor: UUID | None) -> Fault | None:
        """Return the fault that a request meets, if any, and count it down."""
        for entry in self._entries:
            if route not in entry.routes or entry.mentor not in (None, mentor):
                continue
            if entry.left is not None:
                entry.left -= 1
                if entry.left <= 0:
                    self._entries.remove(entry)
            return entry.fault
        return None

    def clear(self) -> None:
        """Forget every fault that still waits."""
        self._entries.clear()
