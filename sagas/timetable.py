"""When the scheduled jobs are due: a fixed table of instants, and what is due of it now. Pure.

Instants are in UTC and the same for everybody, so all copies of a scheduler find the same job due
for the same reason; that one of them does it is decided by the job's lease (`sagas.holds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
AGAIN_AFTER: Final = timedelta(minutes=10)
"""How long after the beginning of a run that failed it is done again."""
FAILURES_MAX: Final = 3
"""Runs in a row that may fail; then the job waits for its next instant, or for somebody to ask."""
OVERDUE_AFTER: Final = _HOUR
"""How long after its instant a job that nobody did is worth a person's look."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One job: due at `offset` after midnight UTC and every `period` from there.

    `late_max` is how long after its instant a missed run is still made up for; `calls_out` that it
    talks to other systems, which the jobs of one process do one after the other.
    """

    job: str
    period: timedelta
    offset: timedelta = timedelta(0)
    late_max: timedelta = _DAY
    calls_out: bool = True

    def last(self, now: datetime) -> datetime:
        """The newest instant that is not after `now`."""
        first = _EPOCH + self.offset
        return first + (now - first) // self.period * self.period

    def next(self, now: datetime) -> datetime:
        """The first instant after `now`."""
        return self.last(now) + self.period


TIMETABLE: Final = (
    Entry("nightly", _DAY, timedelta(minutes=5)),
    Entry("sweep", timedelta(minutes=15), calls_out=False),
    Entry("credentials", timedelta(minutes=30), timedelta(minutes=10), _HOUR),
    Entry("reconcile", _DAY, timedelta(minutes=30)),
    Entry("reconcile_light", _HOUR, timedelta(minutes=50), _HOUR),
    Entry("prompts", _DAY, timedelta(hours=7), timedelta(hours=12)),
)
"""Nightly at 00:05 UTC (OPS-1), the sweep every quarter of an hour (PAU-7), the whole comparison
with the portal after the night's sync and a light one each hour (RCN-1), credentials each half hour
beside the night's own check (CRD-1), prompts in the morning of Oslo: they ring, and a missed
morning is made up for until the evening, later by the rule's own three days (SCN-11)."""

JOBS: Final = tuple(entry.job for entry in TIMETABLE)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one job stands: when the last run that ended began, until when somebody is at it.

    `requested_at`: when somebody last asked for a run beside the table. `failures`: how many of the
    newest runs that ended had a step that failed, in a row.
    """

    ended: datetime | None = None
    held_until: datetime | None = None
    requested_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A job to be run now; a run that began at `since` or later, and ended, has done it."""

    entry: Entry
    since: datetime


def due(
    table: Iterable[Entry], standings: Mapping[str, Standing], now: datetime, *, own: bool = True
) -> list[Due]:
    """What is to be run at `now`, in the order of the table.

    Of several instants missed the newest alone is made up for. What failed is done again, three
    times in a row at most. `own` False: what was asked for, and nothing of the table itself.
    """
    found = []
    for entry in table:
        standing = standings.get(entry.job, Standing())
        if standing.held_until is not None and standing.held_until > now:
            continue
        wanted = [standing.requested_at] if standing.requested_at is not None else []
        if own and now - entry.last(now) < entry.late_max:
            wanted.append(entry.last(now))
        again = _again(standing)
        if again is not None and again <= now:
            wanted.append(again)
        open_ = [each for each in wanted if standing.ended is None or standing.ended < each]
        if open_:
            found.append(Due(entry, max(open_)))
    return found


def _again(standing: Standing) -> datetime | None:
    """When a run that failed is to be done again; None: it did not, or has failed often enough."""
    if standing.ended is None or not 0 < standing.failures < FAILURES_MAX:
        return None
    return standing.ended + AGAIN_AFTER


def overdue(table: Iterable[Entry], standings: Mapping[str, Standing], now: datetime) -> list[str]:
    """Jobs that nobody has done although a whole period, one hour at most, has passed since.

    Whatever is at work on one now is given the time it needs.
    """
    found = []
    for entry in table:
        standing = standings.get(entry.job, Standing())
        at_work = standing.held_until is not None and standing.held_until > now
        wanted = entry.last(now - min(entry.period, OVERDUE_AFTER))
        if not at_work and (standing.ended is None or standing.ended < wanted):
            found.append(entry.job)
    return found


def next_instant(table: Iterable[Entry], now: datetime) -> datetime:
    """The first instant of the table after `now`."""
    return min(entry.next(now) for entry in table)
