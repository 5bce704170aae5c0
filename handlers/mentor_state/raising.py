"""Whether our version of a mentor may be raised above the portal's: a pure decision.

The portal is ahead when our database went back in time, and raising heals that. But a restored copy
and production would leapfrog each other for ever, and a wild number from outside would burn the
range: so at most once per mentor and day, and by at most 10,000. Beyond that, a human looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from datetime import date

RAISE_MAX: Final = 10_000
"""The most a version is raised by on the word of the portal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One mentor under lock: our version, the day of the last raise, and today where he lives."""

    version: int
    raised_on: date | None
    today: date


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise to one above `at_least`, and our own version."""

    at_least: int


@dataclass(frozen=True, slots=True)
class MovedOn:
    """Our version has passed the portal's since: nothing to do."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not raise; `reason` is a short code for the alert's readers."""

    reason: str


Decision: TypeAlias = Raise | MovedOn | Hold


def decide(standing: Standing, *, returned: int) -> Decision:
    """Decide about a version the portal returned; one equal to ours is a conflict, and raised."""
    if returned < standing.version:
        return MovedOn()
    if standing.raised_on is not None and standing.raised_on >= standing.today:
        return Hold("raised_today")
    if returned + 1 - standing.version > RAISE_MAX:
        return Hold("too_far_ahead")
    return Raise(returned)
