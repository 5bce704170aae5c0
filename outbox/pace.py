"""How many calls one lane may begin now: its rate, and the holds it has heard of (P7)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from outbox.rate import Budget

if TYPE_CHECKING:
    from outbox.clock import Clock
    from outbox.destination import Destination
    from outbox.doors import Doors
    from outbox.handler import Handler
    from outbox.queries import Claimed


class Pace:
    """Asked before a claim, and before a call that does not begin at once.

    `throttled` is whether the last claim was kept back by the rate alone.
    """

    def __init__(
        self, handler: Handler, clock: Clock, destination: Destination, doors: Doors | None
    ) -> None:
        self._handler, self._destination, self._doors = handler, destination, doors
        self._budget = None if handler.rate is None else Budget(handler.rate, clock)
        self._stops = 0
        self.throttled = False
        self.stopped_at = float("-inf")

    def allowed(self, limit: int) -> int:
        """How many of `limit` may be claimed now; none while the database is told of a hold."""
        self.throttled = False
        if self._stops:
            return 0
        if self._budget is None:
            return limit
        allowed = min(limit, self._budget.free())
        self.throttled = not allowed
        return allowed

    def spend(self, calls: int) -> None:
        """Take calls from what the rate allows; a negative number was claimed and not called."""
        if self._budget is not None:
            self._budget.spend(calls)

    def wait(self) -> timedelta:
        """How long until the rate allows one more call."""
        return timedelta(0) if self._budget is None else self._budget.wait()

    def stop_heard(self) -> None:
        """Begin nothing more: a call has been told to wait, or that nobody knows us."""
        self._stops += 1
        self.stopped_at = asyncio.get_running_loop().time()

    def stop_told(self) -> None:
        """Go on: the database knows it now, and every claim asks there."""
        self._stops -= 1

    async def may_begin(self, row: Claimed) -> bool:
        """Whether a call that was claimed a while ago, or before a hold, may still begin."""
        if self._stops:
            return False
        probe = self._destination.probing
        if self._doors is None or (probe is not None and probe == row.lease_token):
            return True
        return await self._doors.is_open(self._handler.name, after=self.stopped_at)
