"""How one relay or worker is doing: what its probes and its metrics are told.

Written by the process's own loop, read by the thread that answers. Each field is replaced as
a whole.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from outbox.self_audit import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outbox.inspection import HandlerDepth
    from outbox.meter import Meter
    from outbox.self_audit import SelfAudit

TURN_SECONDS_MAX = 10.0
"""An event loop that has not turned for so long is stuck: some handler blocks it."""

LOOK_SECONDS_MAX = 30.0
"""A process that has not looked for so long cannot say that all is well."""


class Problem(NamedTuple):
    """Why a process is not ready: a word, what it is about, and since when."""

    reason: str
    subject: str | None = None
    age_seconds: int | None = None
    delivery_id: int | None = None


@dataclass(slots=True)
class Vitals:
    """Facts about one running relay or worker. Times are of `time.monotonic`."""

    name: str
    in_flight: Callable[[], Mapping[str, int]]
    meter: Meter
    version: str = field(default_factory=lambda: version("outbox-saga"))
    started_at: float = field(default_factory=time.monotonic)
    turned_at: float = field(default_factory=time.monotonic)
    looked_at: float | None = None
    database_failed: bool = False
    read: bool = False
    """Whether anybody reads the metrics, so that counting is worth its while."""

    kind: ClassVar[str] = ""

    def turn(self) -> None:
        """The event loop turns."""
        self.turned_at = time.monotonic()

    def looked(self) -> None:
        """The database was seen, and what is to be looked at there was."""
        self.looked_at, self.database_failed = time.monotonic(), False

    def alive(self) -> bool:
        """Whether the event loop turns."""
        return time.monotonic() - self.turned_at <= TURN_SECONDS_MAX

    def look_age_seconds(self) -> float:
        """Since the last look; since the start where there was none."""
        return time.monotonic() - (self.looked_at or self.started_at)

    def problems(self) -> list[Problem]:
        """Why this process is not ready, the first that matters first; empty when it is."""
        found: list[Problem] = []
        if not self.alive():
            age = int(time.monotonic() - self.turned_at)
            found.append(Problem("event_loop_stuck", None, age))
        if self.looked_at is None and not self.database_failed:
            found.append(Problem("starting"))
        elif self.database_failed:
            found.append(Problem("database_unreachable", None, int(self.look_age_seconds())))
        elif self.look_age_seconds() > LOOK_SECONDS_MAX:
            found.append(Problem("not_looking", None, int(self.look_age_seconds())))
        return found

    def reported(self) -> list[Problem]:
        """What is told, and is no reason to be not ready."""
        return []


@dataclass(slots=True, kw_only=True)
class RelayVitals(Vitals):
    """What is told of a relay: it also answers for what waits."""

    audit: SelfAudit
    listening: Callable[[], bool | None]
    """Whether the bell is heard; None where there is nothing to listen on."""
    trouble: Callable[[], str | None] = lambda: None
    """What keeps it from handing over to workers."""
    hands_over: bool = False
    depths: Sequence[HandlerDepth] = ()
    destinations: Mapping[str, str] = field(default_factory=dict)

    kind: ClassVar[str] = "relay"

    def problems(self) -> list[Problem]:
        """Those of its process, and what it does not hear, cannot send or sees waiting."""
        found = Vitals.problems(self)
        if self.listening() is False:
            found.append(Problem("not_listening"))
        if self.trouble() is not None:
            found.append(Problem("broker_unreachable"))
        return found + [
            Problem(one.kind, one.subject, _age(one.since), one.delivery_id)
            for one in self.audit.failing
        ]

    def reported(self) -> list[Problem]:
        """What stays blocked for long: told, and no reason to be not ready."""
        return [
            Problem(f"{one.kind}: {one.reason}", one.subject, _age(one.since), one.delivery_id)
            for one in self.audit.troubles
            if not one.fails
        ]

    @property
    def unrouted(self) -> int:
        """Messages parked for want of a route."""
        return sum(one.parked for one in self.audit.parked)

    def oldest_due_ages(self) -> dict[str, float]:
        """Of each handler of this relay, how long its oldest due delivery has been due."""
        oldest = self.audit.oldest_due
        return {
            name: float(_age(oldest[name])) if name in oldest else 0.0
            for name in sorted(self.audit.mine)
        }

    def trouble_ages(self) -> dict[str, float]:
        """Of each kind of trouble, the age of its worst case; 0 where there is none."""
        ages: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        for one in self.audit.troubles:
            ages[one.kind] = max(ages[one.kind], float(_age(one.since)))
        return ages


@dataclass(slots=True, kw_only=True)
class WorkerVitals(Vitals):
    """What is told of a worker: whether it reads its queues."""

    connected: Callable[[], Mapping[str, bool]]
    """Of each handler, whether its queue is being read."""

    kind: ClassVar[str] = "worker"

    def problems(self) -> list[Problem]:
        """Those of its process, and the handlers whose queue it does not read."""
        away = [name for name, reads in sorted(self.connected().items()) if not reads]
        return Vitals.problems(self) + [Problem("broker_unreachable", name) for name in away]


def _age(since: datetime) -> int:
    return max(int((datetime.now(UTC) - since).total_seconds()), 0)
