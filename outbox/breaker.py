"""When a destination that keeps failing is left alone: terms and count, no clock, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from outbox.durations import wrong_with
from outbox.errors import PolicyInvalid

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens when `failures_min` distinct deliveries failed within `window` and most calls do.

    "Most" is at least `share` of the calls that ended in the process that asks. While it is open,
    one delivery at a time is tried as a probe: the first after `probe_after`, and after each probe
    that failed twice as late, at most `probe_after_max`. A probe that ends well closes it.
    """

    failures_min: int = 3
    window: timedelta = timedelta(seconds=30)
    share: float = 0.5
    probe_after: timedelta = timedelta(seconds=5)
    probe_after_max: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        """Refuse what could never open, or would open at once."""
        for term in ("window", "probe_after", "probe_after_max"):
            if (wrong := wrong_with(getattr(self, term))) is not None:
                raise PolicyInvalid(f"{term} {wrong}")
        if self.failures_min < 1:
            raise PolicyInvalid(f"failures_min is {self.failures_min}, it must be at least 1")
        if not 0 < self.share <= 1:
            raise PolicyInvalid(f"share is {self.share}, it must be above 0 and at most 1")
        if self.probe_after_max < self.probe_after:
            raise PolicyInvalid(
                f"probe_after_max is {self.probe_after_max}, it must not be below probe_after, "
                f"which is {self.probe_after}"
            )

    def describe(self) -> str:
        """One line for `outbox explain`."""
        return (
            f"breaker opens after {self.failures_min} deliveries failed within {self.window} "
            f"and {self.share:.0%} of the calls, probes after {self.probe_after} "
            f"up to {self.probe_after_max}"
        )


BY_EFFECT = Breaker()
"""What is declared when nothing is: for handlers that call out the usual terms, else none."""


class Tally:
    """How the calls of one process to one destination ended, over the last window or two."""

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._turned_at: datetime | None = None
        self._now, self._before = [0, 0], [0, 0]

    def count(self, *, well: int = 0, failed: int = 0, at: datetime) -> None:
        """Add calls that ended at `at`."""
        if self._turned_at is None or not timedelta(0) <= at - self._turned_at < 2 * self._window:
            self._now, self._before, self._turned_at = [0, 0], [0, 0], at
        elif at - self._turned_at >= self._window:
            self._now, self._before, self._turned_at = [0, 0], self._now, at
        self._now[0] += well
        self._now[1] += failed

    def failing(self, share: float) -> bool:
        """Whether at least `share` of them failed."""
        well, failed = (sum(pair) for pair in zip(self._now, self._before, strict=True))
        return failed > 0 and failed >= share * (well + failed)
