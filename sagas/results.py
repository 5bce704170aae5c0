"""What the scheduled runs report: counts, never people. Stored in `job_runs.summary` (RES-4).

The field names of `OrchestrationResult` and the JSON names of `DispatchSummary` are fixed: reports
and dashboards read them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

ALREADY_RUNNING: Final = "already_running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class OrchestrationResult:
    """Counts of one reminder run (RES-1); adding two gives the counts of both.

    For one audience `processed` is the number of input records, and for mentors
    `processed == skipped + created + failed + not_due + retried` with `queued <= created`:
    `created` counts new reminders, `queued` the pushes they became, `no_token` the recipients
    without a usable device (their inbox rows exist all the same). `retried` counts reminders that
    fired earlier and whose failed push was published again; they are part of no other count.
    `missing_coordinator` counts mentors for whom neither assignment nor chapter names anybody;
    it overlaps the others. A reminder nobody at all could receive counts as skipped and stays
    unclaimed, so a later run makes it up.
    """

    processed: int = 0
    skipped: int = 0
    created: int = 0
    queued: int = 0
    failed: int = 0
    not_due: int = 0
    no_token: int = 0
    retried: int = 0
    missing_coordinator: int = 0

    def __add__(self, other: OrchestrationResult) -> OrchestrationResult:
        """Sum both, field by field."""
        mine, theirs = asdict(self), asdict(other)
        return OrchestrationResult(**{name: mine[name] + theirs[name] for name in mine})

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DispatchSummary:
    """Outcomes of a drain, counted in recipients, not devices (RES-2)."""

    success_count: int = 0
    failure_count: int = 0
    skipped_count: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts under the names clients know."""
        return {
            "successCount": self.success_count,
            "failureCount": self.failure_count,
            "skippedCount": self.skipped_count,
        }


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One lapse sweep: mentors paused, groups for coordinators, reminder keys merged."""

    paused: int = 0
    groups: int = 0
    merged: int = 0
    missing_coordinator: int = 0
    failed: int = 0

    def __add__(self, other: SweepResult) -> SweepResult:
        """Sum both, field by field."""
        mine, theirs = asdict(self), asdict(other)
        return SweepResult(**{name: mine[name] + theirs[name] for name in mine})

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Findings of one look: opened now, closed because fixed, open afterwards by kind."""

    opened: int = 0
    closed: int = 0
    open_by_kind: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: DataQuality) -> DataQuality:
        """Sum both, kind by kind."""
        kinds = Counter(self.open_by_kind)
        kinds.update(other.open_by_kind)
        return DataQuality(self.opened + other.opened, self.closed + other.closed, dict(kinds))

    def as_json(self) -> dict[str, Any]:
        """The counts by name."""
        return {
            "opened": self.opened,
            "closed": self.closed,
            "open_by_kind": dict(self.open_by_kind),
        }


@dataclass(frozen=True, slots=True)
class NightlyReport:
    """What one nightly run did, in its order; `outcome` is completed, failed or already_running.

    `failures` names what went wrong by stage (`reminders:HLF`), with an error class and no text.
    """

    run_id: UUID
    outcome: str
    started_at: datetime
    finished_at: datetime
    credentials: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepResult = SweepResult()
    synced: int = 0
    reminders: Mapping[str, OrchestrationResult] = field(default_factory=dict)
    pushes: DispatchSummary = DispatchSummary()
    duplicates: int = 0
    data_quality: DataQuality = field(default_factory=DataQuality)
    pruned: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> OrchestrationResult:
        """All organisations together."""
        return sum(self.reminders.values(), OrchestrationResult())

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON document."""
        return {
            "run_id": str(self.run_id),
            "outcome": self.outcome,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "credentials": dict(self.credentials),
            "sweep": self.sweep.as_json(),
            "synced": self.synced,
            "reminders": {code: result.as_json() for code, result in self.reminders.items()},
            "total": self.total.as_json(),
            "pushes": self.pushes.as_json(),
            "duplicates": self.duplicates,
            "data_quality": self.data_quality.as_json(),
            "pruned": dict(self.pruned),
            "failures": dict(self.failures),
        }
