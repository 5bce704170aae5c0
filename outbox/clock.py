"""The one clock. Outside tests the database's decides; Python's is for logs and memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """This instant, aware, in UTC."""
        ...

    def sql_now(self) -> datetime | None:
        """What SQL gets as `now`: None means the database's own clock."""
        ...


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """This instant by the machine's clock."""
        return datetime.now(UTC)

    def sql_now(self) -> datetime | None:
        """None: the database's clock is the only one that counts for leases."""
        return None


class VirtualClock:
    """Time that moves only when told to, for tests and rehearsals."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            msg = "start is a datetime without a zone; give an aware one"
            raise ValueError(msg)
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The instant last set."""
        return self._now

    def sql_now(self) -> datetime | None:
        """The same instant, so that database and Python agree."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move forward and return the new instant."""
        self._now += by
        return self._now

    def set(self, instant: datetime) -> None:
        """Jump to `instant` (aware)."""
        self._now = instant.astimezone(UTC)
