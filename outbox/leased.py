"""Leased batches: their claim is committed before the first of them is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outbox.lane import Lane
    from outbox.queries import Claimed


@dataclass(slots=True)
class LeasedBatch:
    """Deliveries under leases that are committed. `starts_by` as in `Lane.starts_by`.

    `in_flight` is how many of them still take a slot: a call that has ended takes none, though its
    settlement may be under way. `freed` is called as each has ended: there may be room for more.
    """

    lane: Lane
    rows: Sequence[Claimed]
    starts_by: float
    in_flight: int = 0
    freed: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Each of them takes a slot from the start."""
        self.in_flight = len(self.rows)

    async def run(self) -> None:
        """Try and settle all of it."""
        await self.lane.run_batch(self.rows, self.starts_by, over=self._over)

    def _over(self) -> None:
        self.in_flight -= 1
        if self.freed is not None:
            self.freed()
