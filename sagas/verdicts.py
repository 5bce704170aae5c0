"""What the portal's state of one mentor means beside ours (RCN-2): a pure table, and its repair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sagas.queries_reconcile import OurState

EXPECTED_SYNC_LAG: Final = timedelta(minutes=15)
"""How long the portal may take to store and publish before that is drift."""


class Verdict(StrEnum):
    """How the portal's state of one mentor stands to ours."""

    IN_SYNC = "in_sync"
    IN_SYNC_ABSENT = "in_sync_absent"
    PENDING = "pending"
    LAGGING = "lagging"
    NOT_PUBLISHED = "not_published"
    BEHIND = "behind"
    MISSING = "missing"
    CONFLICT = "conflict"
    AHEAD = "ahead"
    ORPHAN = "orphan"


class Action(StrEnum):
    """What was done about a verdict, or would have been on a dry run (`planned_...`)."""

    NONE = "none"
    RESENT = "resent"
    RAISE_REQUESTED = "raise_requested"
    PLANNED_RESEND = "planned_resend"
    PLANNED_RAISE = "planned_raise"
    DEFERRED = "deferred"


DRIFT: Final = frozenset(
    {
        Verdict.NOT_PUBLISHED,
        Verdict.BEHIND,
        Verdict.MISSING,
        Verdict.CONFLICT,
        Verdict.AHEAD,
        Verdict.ORPHAN,
    }
)
"""The verdicts that time alone will not put right."""

RESEND: Final = frozenset({Verdict.NOT_PUBLISHED, Verdict.BEHIND, Verdict.MISSING})
"""Repaired by a new version of our state."""

RAISE: Final = frozenset({Verdict.CONFLICT, Verdict.AHEAD})
"""Repaired by a version above the portal's, within the bounds of `handlers.mentor_state`."""


@dataclass(frozen=True, slots=True)
class PortalRow:
    """One mentor as the portal lists him: what it stores, and what its public page shows."""

    mentor_id: UUID
    version: int
    visible: bool
    published_version: int | None = None
    published_visible: bool | None = None
    published_at: datetime | None = None

    @property
    def shown(self) -> bool:
        """Whether the public page shows him; what was never published is not shown."""
        return bool(self.published_visible)


def verdict(  # noqa: PLR0911 - a table, one return a row
    ours: OurState | None,
    portal: PortalRow | None,
    *,
    lag: timedelta,
    allowance: timedelta = EXPECTED_SYNC_LAG,
) -> Verdict:
    """Compare one mentor; `lag` is the time since the state we want was last changed.

    Raises ValueError when neither side knows the mentor.
    """
    if ours is None:
        if portal is None:
            raise ValueError("neither side knows this mentor; there is nothing to compare")
        shown = portal.visible or portal.shown
        return Verdict.ORPHAN if shown else Verdict.IN_SYNC_ABSENT
    patient = lag <= allowance
    if portal is None:
        if not ours.visible:
            return Verdict.IN_SYNC_ABSENT
        return Verdict.PENDING if patient else Verdict.MISSING
    if portal.version > ours.version:
        return Verdict.AHEAD
    if portal.version < ours.version:
        return Verdict.PENDING if patient and ours.pending else Verdict.BEHIND
    if portal.visible is not ours.visible:
        return Verdict.CONFLICT
    if portal.shown is ours.visible:
        return Verdict.IN_SYNC
    return Verdict.LAGGING if patient else Verdict.NOT_PUBLISHED
