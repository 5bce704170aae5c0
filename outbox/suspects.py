"""Suspects in processes of their own: what kills its process takes nobody along.

A suspect was taken by a process that died, or stalled. In the daemon, and in a drain, it could run
only with nothing beside it, and every lane would wait for it, as it for them (P8). A process that
does nothing else waits for nobody, and nobody for it.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import structlog

from outbox.expiry import OUTAGES
from outbox.probing import run_probe
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from outbox.lane import Lane
    from outbox.relay import Relay

log = structlog.get_logger("outbox")

PROCESSES_MAX = 2
"""How many such processes a daemon has at once: memory may be what killed the one before."""

SECONDS_MAX = 30.0
"""After this long such a process begins no other suspect: those of other handlers wait for it."""


DEATHS_MAX = 3
"""After so many deaths of its processes a drain leaves the suspects of a handler to the next."""

OUTAGE_SECONDS_MAX, OUTAGE_WAIT_SECONDS = 300.0, 1.0
"""How long, and how often, such a process tries to say that it lives after the database failed."""


class Suspects:
    """Has suspects tried by `command`, which is given a handler and how many to try at most.

    What is being tried when this is left is finished, since a process that dies counts against it.
    `started` counts processes.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._deaths: Counter[str] = Counter()
        self._deaths_max: int | None = None
        self._begun = self.started = 0
        self._stopping = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stopping = True
        for process in self._processes.values():
            with suppress(ProcessLookupError):  # it has just ended by itself
                process.send_signal(signal.SIGTERM)  # it begins no other
        await asyncio.gather(*self._under_way.values())

    def have_tried(self, handler: str, *, at_most: int) -> bool:
        """Begin a process for suspects of `handler`; False where one is at it, or enough are."""
        if self._stopping or handler in self._under_way or len(self._under_way) >= PROCESSES_MAX:
            return False
        if self._deaths_max is not None and self._deaths[handler] >= self._deaths_max:
            return False
        self._begun += 1
        task = asyncio.create_task(self._run(handler, at_most))
        self._under_way[handler] = task
        task.add_done_callback(lambda _: self._under_way.pop(handler))
        return True

    async def drain(self, relay: Relay, stop: asyncio.Event) -> int:
        """Let `relay` work until nothing is due, suspects too; how many deliveries it tried itself.

        Where `DEATHS_MAX` processes of a handler have died, or would not start, its suspects are
        left to a later drain.
        """
        self._deaths_max = DEATHS_MAX
        for lane in relay.lanes.values():
            lane.suspects = self
        tried = 0
        while True:
            begun = self._begun
            tried += await relay.drain(stop, overlapping=True)
            if stop.is_set() or not (self._under_way or self._begun > begun):
                return tried
            stopping = asyncio.create_task(stop.wait())
            ended: asyncio.Future[Any] = asyncio.gather(*self._under_way.values())
            both: list[asyncio.Future[Any]] = [stopping, ended]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()  # what a suspect has left behind it may be due now: look again

    async def _run(self, handler: str, at_most: int) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, handler, str(at_most), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            log.error("suspects.not_started", handler=handler, error_type=type(error).__name__)  # noqa: TRY400
            self._count_death(handler)
            return
        self.started += 1
        self._processes[handler] = process
        if self._stopping:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        code = await process.wait()
        del self._processes[handler]
        if code and not self._stopping:
            log.warning("suspects.process_died", handler=handler, code=code)
            self._count_death(handler)

    def _count_death(self, handler: str) -> None:
        self._deaths[handler] += 1
        if self._deaths[handler] == self._deaths_max:
            log.warning("suspects.left", handler=handler, processes=self._deaths_max)


async def try_suspects(relay: Relay, handler: str, *, at_most: int, stop: asyncio.Event) -> int:
    """Try suspects of `handler` one by one, in a process that does nothing else; how many."""
    loop, tried = asyncio.get_running_loop(), 0
    async with relay.opened():
        lane, until = relay.lanes[handler], loop.time() + SECONDS_MAX
        while tried < at_most and loop.time() < until and not stop.is_set():
            if not await _try_one(lane, stop):
                break
            tried += 1
        if not tried and not stop.is_set():
            await run_probe(lane)  # where its breaker is open, a suspect may be the probe
            tried += await _try_one(lane, stop)
    return tried


async def _try_one(lane: Lane, stop: asyncio.Event) -> bool:
    """Try one, as the lane does; an outage of the database is waited out, as far as it counts.

    What was claimed alone is counted until its process says that it lives. One that ended because
    the database was away would look like one that the message has killed.
    """
    try:
        return await lane.run_suspect()
    except OUTAGES as error:
        log.error("suspects.database_failed", handler=lane.handler.name, **facts_of(error))  # noqa: TRY400
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + OUTAGE_SECONDS_MAX
        while loop.time() < ends_at and not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), OUTAGE_WAIT_SECONDS)
            with suppress(*OUTAGES):
                if await lane.count_alone():
                    return True
                break
        raise
