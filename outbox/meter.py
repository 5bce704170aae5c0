"""What a relay counts while it works: plain numbers, added up once per batch.

Nothing here knows how they are shown; `outbox.metrics` puts them into Prometheus' form when asked.
Handlers and outcomes are the only labels: both come from the code, so they can neither grow without
bound nor carry anybody's name (P12).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the settlement histogram."""


@dataclass(slots=True)
class Histogram:
    """How many observations fell below each bound of `SECONDS`, and above the last."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Meter:
    """Counts of one process since it started."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(handler, outcome) -> attempts settled; `lease_lost`: those that were not ours any more."""
    claims: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(handler, `full`, `some` or `none`) -> claims."""
    claimed: Counter[str] = field(default_factory=Counter)
    """handler -> deliveries claimed."""
    settling: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    """handler -> how long settlements took, one observation per batch written down."""

    def claim(self, handler: str, rows: int, limit: int) -> None:
        """Count a claim of `rows` deliveries where `limit` were wanted."""
        self.claims[handler, "none" if not rows else "full" if rows >= limit else "some"] += 1
        self.claimed[handler] += rows

    def settle(self, handler: str, outcomes: Mapping[str, int], seconds: float) -> None:
        """Count one settlement: how many attempts ended how, and how long writing it took."""
        for outcome, count in outcomes.items():
            self.ended(handler, outcome, count)
        self.settling[handler].observe(seconds)

    def ended(self, handler: str, outcome: str, count: int) -> None:
        """Count deliveries that ended without a settlement of their own, or as part of one."""
        if count:
            self.attempts[handler, outcome] += count
