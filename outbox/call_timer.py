"""The time-out of calls that one task makes one after the other, with one timer for them all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class CallTimer:
    """Raises `TimeoutError` in a call that takes longer than `seconds`, as `asyncio.timeout` would.

    A context manager to be entered again for each call, never twice at once, and in one task only.
    The timer in the loop is not moved for each call: when it fires early, it is set again.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "a call is made in a task"
        self._task = task
        self._due: float | None = None
        self._armed: asyncio.TimerHandle | None = None
        self._cancelling = 0
        self._expired = False

    def __enter__(self) -> None:
        """Begin a call."""
        self._cancelling = self._task.cancelling()
        self._due = self._loop.time() + self._seconds
        if self._armed is None:
            self._armed = self._loop.call_at(self._due, self._fire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it. A cancellation that was ours becomes a `TimeoutError`."""
        self._due = None
        if self._expired:
            self._expired = False
            ours = self._task.uncancel() <= self._cancelling
            if ours and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def close(self) -> None:
        """Take the timer out of the loop."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _fire(self) -> None:
        self._armed = None
        if self._due is None:  # between two calls: the next one arms it
            return
        if self._loop.time() < self._due:
            self._armed = self._loop.call_at(self._due, self._fire)
            return
        self._expired = True
        self._task.cancel()
