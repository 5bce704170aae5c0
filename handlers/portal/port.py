"""What the application asks of a portal, whichever way the portal is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import structlog

from handlers.portal.answers import (
    SKEW_WARNED,
    Answer,
    Credentials,
    ReadAnswer,
    Refused,
    Unclear,
)

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from handlers.portal.wire import Reason, StoredVisibility


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WantedVisibility:
    """The whole wanted state of one mentor at one version; times are aware."""

    mentor_id: UUID
    organisation: str
    version: int
    visible: bool
    reason: Reason
    effective_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything the portal told about its mentors.

    Only a `complete` listing proves that somebody is absent; otherwise `problem` is a short code
    and `items` holds what was read before it.
    """

    complete: bool
    items: tuple[StoredVisibility, ...]
    snapshot_at: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Healthy:
    """The portal knows us; `skew` is how far its clock is ahead of ours."""

    skew: timedelta
    skewed: bool


Health: TypeAlias = Healthy | Refused


class ListingBroken(Exception):
    """The listing stopped making sense; `reason` is a short code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def healthy(skew: timedelta) -> Healthy:
    """The portal knows us; warns when the clocks differ by more than 120 s."""
    skewed = abs(skew) > SKEW_WARNED
    if skewed:
        log.warning("portal.clock_skewed", skew_s=round(skew.total_seconds()))
    return Healthy(skew, skewed)


def problem_of(answer: Refused) -> str:
    """A short code for a page that could not be read."""
    match answer:
        case Unclear(reason):
            return reason
        case Credentials(code):
            return f"credentials:{code}"
        case _:
            return type(answer).__name__.lower()


class VisibilityPort(Protocol):
    """A portal that stores visibility by compare-and-set on the version (SYN-1, SYN-2).

    No method retries, and none raises for what the other side answers: answers are values.
    `CredentialsRejected` and `TransientFailure` come up from the token endpoint alone.
    """

    async def set(self, wanted: WantedVisibility, *, newest: int | None = None) -> Answer:
        """Send one state; `newest` is our newest version if it is not the one sent."""
        ...

    async def read(self, mentor_id: UUID, *, etag: str | None = None) -> ReadAnswer:
        """Read one mentor; with an `etag`, `Unchanged` if nothing changed since."""
        ...

    async def listing(self) -> Listing:
        """Read all mentors; what goes wrong makes it incomplete."""
        ...

    async def health(self) -> Health:
        """Ask who we are, with a fresh token."""
        ...
