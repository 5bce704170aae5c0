"""How a relay waits with nothing to do: for the bell if publishers ring for it, else by looking."""

from __future__ import annotations

import asyncio

POLL_SECONDS = 0.25
"""How long an idle lane waits for the bell before it looks by itself."""

FAST_POLL_SECONDS, FAST_POLL_FOR_SECONDS = 0.002, 0.25
"""How often, and for how long, a lane looks by itself while its flag may be news to publishers."""

SLOW_POLL_SECONDS = 0.05
"""How often a lane looks that has nothing to do while others have a crowd."""

QUIET_SECONDS = 0.02
"""How long there must have been no crowd before publishers are asked to ring."""

CROWD = 8
"""So many deliveries in one claim are a crowd: publishers need not ring for more."""


class Idling:
    """Whether publishers are asked to ring, and how soon an idle lane looks by itself.

    Times are of the running loop, in seconds.
    """

    def __init__(self) -> None:
        self.asleep = False
        """Whether publishers have been asked to ring."""
        self._asleep_at = self._crowded_at = float("-inf")
        self._moved_at: dict[str, float] = {}

    def moved(self, handler: str, deliveries: int, *, room: int) -> bool:
        """Note what a claim found; whether that was a crowd, which comes without a bell."""
        now = self._moved_at[handler] = asyncio.get_running_loop().time()
        crowd = deliveries >= min(room, CROWD)
        if crowd:
            self._crowded_at = now
        return crowd

    @property
    def is_quiet(self) -> bool:
        """Whether there has been no crowd for a while."""
        return asyncio.get_running_loop().time() - self._crowded_at >= QUIET_SECONDS

    def fell_asleep(self) -> None:
        """Note that publishers have been asked just now."""
        self._asleep_at = asyncio.get_running_loop().time()

    def wait_seconds(self, handler: str) -> float:
        """How long a lane waits before it looks by itself.

        Whoever published before the flag was up has rung no bell.
        """
        moved_at = self._moved_at.get(handler, float("-inf"))
        news_at = self._asleep_at if self.asleep else moved_at
        if asyncio.get_running_loop().time() - news_at < FAST_POLL_FOR_SECONDS:
            return FAST_POLL_SECONDS
        return POLL_SECONDS if self.asleep else SLOW_POLL_SECONDS
