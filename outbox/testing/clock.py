"""A clock for processes that must live in another time than the machine they run on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class ShiftedClock:
    """Real time, moved by a fixed amount.

    A relay restarted ahead of the one that died finds its leases run out: no test waits for them.
    """

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        """This instant, moved."""
        return datetime.now(UTC) + self._by

    def sql_now(self) -> datetime:
        """The same for SQL, so that database and Python agree."""
        return self.now()
