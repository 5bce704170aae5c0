"""How many calls of one handler may be claimed beside those under way in this process."""

from __future__ import annotations

import asyncio

PATIENCE_SECONDS = 0.005
"""How long fewer than half of the slots stand free before they are filled all the same."""


CLAIM_MAX = 1_000
"""The most deliveries in one claim. Its statement says so, to be planned alike for any number."""


class Slots:
    """Counts free slots; a few are let wait for a moment, since half of them share statements."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._few_since: float | None = None

    def free(self, taken: int) -> int:
        """How many to claim for now, `taken` being under way."""
        free = max(self._most - taken, 0)
        if not free or not taken or free >= (self._most + 1) // 2:
            self._few_since = None
            return min(free, CLAIM_MAX)
        now = asyncio.get_running_loop().time()
        if self._few_since is None:
            self._few_since = now
        if now - self._few_since < PATIENCE_SECONDS:
            return 0
        self._few_since = None
        return min(free, CLAIM_MAX)

    @property
    def looks_again_in(self) -> float | None:
        """How soon to ask again, in seconds; None where no few are waiting."""
        return None if self._few_since is None else PATIENCE_SECONDS
