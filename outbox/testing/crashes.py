"""Crash points for tests: at a named place the process ends, or something else happens.

In one process a crash is an exception that nothing catches: open transactions roll back, leases
stay. In a process of its own it is the real thing, `kill`.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg

from outbox import crash_points
from outbox.testing.queries import take_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outbox.crash_points import CrashPoint


class Crashed(BaseException):  # nothing in an engine or a handler may survive it
    """The process would have ended here."""


def crash() -> NoReturn:
    """End this life: nothing after it runs, and open transactions roll back."""
    raise Crashed


def kill() -> None:
    """End the process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def lease_taker(dsn: str, handler: str) -> Callable[[], None]:
    """Something to do at a point: another worker takes over whatever `handler` has leased."""

    def take() -> None:
        with psycopg.connect(dsn) as conn:
            take_over(conn, handler)

    return take


@dataclass
class Arming:
    """What waits at a point. `reached` counts how often the work came there."""

    point: CrashPoint
    do: Callable[[], Any]
    handler: str | None
    nth: int
    reached: int = 0

    @property
    def fired(self) -> bool:
        """Whether it has happened."""
        return self.reached >= self.nth

    def __call__(self, point: CrashPoint, handler: str) -> None:
        """Act once, when the work has come to the point for the `nth` time."""
        if point is not self.point or self.handler not in {None, handler}:
            if self.fired and self.do is crash:  # the dead write nothing more
                crash()
            return
        self.reached += 1
        if self.reached == self.nth:
            self.do()


@contextmanager
def at_point(
    point: CrashPoint, do: Callable[[], Any] = crash, *, handler: str | None = None, nth: int = 1
) -> Iterator[Arming]:
    """Call `do` when the work (of `handler`) comes to `point` for the `nth` time.

    Unless told otherwise that is the end: a `Crashed` leaves the block. Other points stay armed.
    """
    arming = Arming(point, do, handler, nth)
    before = crash_points.arm(None)

    def each(reached: CrashPoint, of: str) -> None:
        arming(reached, of)
        if before is not None:
            before(reached, of)

    crash_points.arm(each)
    try:
        yield arming
    finally:
        crash_points.arm(before)
