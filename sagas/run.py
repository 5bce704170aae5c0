"""What every step of a scheduled run is told: which run, which instant, which organisation.

`now` is read once per run and used for every record; no step looks at a clock of its own (TIER-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sagas.tiers import local_date

if TYPE_CHECKING:
    from datetime import date, datetime, tzinfo
    from uuid import UUID

PAGE_SIZE: Final = 20_000
"""Records held in memory at once; a page costs a constant number of statements."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run. `now` is aware; `page_size` bounds what is held in memory."""

    run_id: UUID
    now: datetime
    page_size: int = PAGE_SIZE


def zone_called(name: str) -> tzinfo:
    """The zone for showing times to people; UTC where nobody knows the name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@dataclass(frozen=True, slots=True)
class Organisation:
    """One organisation as the runs see it."""

    id: UUID
    code: str
    timezone: str = "Europe/Oslo"
    go_live_date: date | None = None
    visibility_channel: str = "none"

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone. Raises ZoneInfoNotFoundError for a name nobody knows."""
        return ZoneInfo(self.timezone)

    def today(self, run: RunContext) -> date:
        """The civil date of the run there."""
        return local_date(run.now, self.zone)
