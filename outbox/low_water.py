"""A low-water mark: the id above which the next claim of a lane looks."""

from __future__ import annotations

LATE_SECONDS = 5.0
"""Transactions shorter than this are seen by the next claim, longer ones by the next full look."""


class LowWater:
    """The id above which the next claim looks."""

    def __init__(self) -> None:
        self._everywhere = True
        self._full = self._stayed = False
        self._last = self._top = self._young = self._old = 0
        self._turned_at = float("-inf")

    @property
    def everywhere(self) -> bool:
        """Whether the next claim starts at the first id."""
        return self._everywhere

    @property
    def full(self) -> bool:
        """Whether the last claim left something above it."""
        return self._full or self._stayed

    def look_everywhere(self) -> None:
        """Let the next claim start at the first id."""
        self._everywhere = True

    def start(self) -> int:
        """The id above which to look now."""
        if self._everywhere:
            return 0
        return self._last if self._full else self._old

    def reached(self, last: int | None, *, full: bool, at: float) -> None:
        """Note how far a claim came; `full`: there may be more above. `at` in seconds."""
        self._everywhere, self._full, self._stayed = False, full, False
        if last is not None:
            self._last, self._top = last, max(self._top, last)
        if at - self._turned_at >= LATE_SECONDS:
            self._old, self._young, self._turned_at = self._young, self._top, at

    def stayed(self) -> None:
        """Note that a claim was filled by others and did not come to look."""
        self._stayed = True
