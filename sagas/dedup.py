"""What counts as a second telling: decided here, looked up and counted in `sagas.reminders`.

The unique key of a claim (DED-1) needs no deciding; these are the guards around it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from sagas.recipients import Resolution
from sagas.tiers import local_date

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from sagas.queries import FiredReminder, Reminder

DUPLICATE_WITHIN: Final = timedelta(hours=24)
"""Two runs that meet at a key within this long, on one day, are told of (DED-8)."""

Told: TypeAlias = "tuple[Reminder, Resolution | None]"
"""A reminder and whom it is for; None: the mentor himself (REC-1)."""


def is_double(before: FiredReminder, *, run_id: UUID, now: datetime, zone: ZoneInfo) -> bool:
    """Whether another run claimed it earlier on this very day (DED-8); merged is no attempt."""
    return (
        before.status == "claimed"
        and before.run_id != run_id
        and now - before.created_at < DUPLICATE_WITHIN
        and local_date(before.created_at, zone) == local_date(now, zone)
    )


def people_of(told: Told) -> tuple[UUID, ...]:
    """Whom a reminder is for."""
    reminder, resolution = told
    return (reminder.mentor_id,) if resolution is None else resolution.recipients


def pushes_of(told: Iterable[Told]) -> list[tuple[UUID, Reminder]]:
    """Each recipient with each reminder that would be pushed to him, to be looked up (DED-7)."""
    return [(recipient, each[0]) for each in told for recipient in people_of(each)]


def without_recent(
    told: Sequence[Told], recent: Collection[tuple[UUID, UUID]]
) -> tuple[list[Told], int]:
    """`told` without the recipients in `recent`, and how many reminders have nobody left (DED-7).

    `recent` are recipients and certificates of pushes within the guard's hours.
    """
    kept: list[Told] = []
    for reminder, resolution in told:
        people = people_of((reminder, resolution))
        left = tuple(each for each in people if (each, reminder.certification_id) not in recent)
        if left and resolution is None:
            kept.append((reminder, None))
        elif left and resolution is not None:
            kept.append((reminder, Resolution(resolution.mentor_id, left, resolution.step)))
    return kept, len(told) - len(kept)


def lost(
    reminders: Iterable[Reminder], claimed: Collection[UUID], refused: Collection[UUID]
) -> list[Reminder]:
    """What somebody else has claimed since we looked (DED-3): neither ours nor refused."""
    return [
        each
        for each in reminders
        if each.certification_id not in claimed and each.certification_id not in refused
    ]
