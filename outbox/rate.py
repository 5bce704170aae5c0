"""How fast one process may call a destination: a budget of calls that fills up with time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from outbox.errors import PolicyInvalid

if TYPE_CHECKING:
    from outbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `per_second` calls a second in one process, `burst` of them at once after a rest."""

    per_second: float
    burst: int = 1

    def __post_init__(self) -> None:
        """Refuse what would never call."""
        if self.per_second <= 0 or self.burst < 1:
            raise PolicyInvalid(f"{self}: per_second must be above zero and burst at least 1")

    def describe(self) -> str:
        """One line for `outbox explain`."""
        return f"at most {self.per_second:g} calls a second in one process, {self.burst} at once"


class Budget:
    """What a rate allows now. A claim takes no more, so no lease runs out waiting for its turn."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._calls, self._counted_at = float(rate.burst), clock.now()

    def free(self) -> int:
        """How many calls may be made now."""
        now = self._clock.now()
        rested = max((now - self._counted_at).total_seconds(), 0.0)
        earned = self._calls + rested * self._rate.per_second
        self._calls, self._counted_at = min(earned, float(self._rate.burst)), now
        return int(self._calls + 1e-9)  # a tenth ten times is one

    def spend(self, calls: int) -> None:
        """Note that calls are made; a negative number gives back what was not needed."""
        self._calls = min(self._calls - calls, float(self._rate.burst))

    def wait(self) -> timedelta:
        """How long until one more call may be made."""
        return timedelta(seconds=max(1 - self._calls, 0) / self._rate.per_second)
