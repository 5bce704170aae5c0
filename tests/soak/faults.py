"""What the soak does to its processes, its server, its connections and its receiver."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from tests.crash.proxy import Cut
from tests.soak.processes import RelayLife, start_publisher, start_relay

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta
    from multiprocessing.process import BaseProcess
    from pathlib import Path
    from random import Random

    from outbox.embedded import EmbeddedServer
    from tests.crash.proxy import FaultProxy
    from tests.crash.receiver import Receiver

# How often each fault comes up, in proportion. A server that dies takes everybody along.
WEIGHTS = {
    "commit_cut_before": 6, "commit_cut_in_flight": 6, "commit_cut_after": 6,
    "all_connections_cut": 2, "relay_killed": 6, "relay_stalled": 1, "server_killed": 1,
    "publisher_killed": 2, "receiver_busy": 3, "receiver_hangs_up": 3, "receiver_slow": 3,
}  # fmt: skip
MISBEHAVES_SECONDS = 0.4
CUT_WITHIN_SECONDS = 2.0


@dataclass
class World:
    """Everything that runs, and how to hurt it. `injected` counts faults that took place."""

    embedded: EmbeddedServer
    dsn: str
    proxy: FaultProxy
    receiver: Receiver
    random: Random
    timeout: timedelta
    log: Path
    seed: int
    faulty: bool
    injected: Counter[str] = field(default_factory=Counter)
    relays: list[BaseProcess] = field(default_factory=list)
    publishers: dict[int, BaseProcess] = field(default_factory=dict)
    stalled: set[int] = field(default_factory=set)
    lives: int = 0
    _later: set[asyncio.Task[None]] = field(default_factory=set)

    def start_relay(self) -> None:
        """One more relay; where there are faults, every other one is to die at a crash point."""
        self.lives += 1
        life = RelayLife(
            dsn=self.proxy.through if self.faulty else self.dsn, port=self.receiver.port,
            timeout=self.timeout, log=str(self.log), seed=f"{self.seed}:{self.lives}",
            dies=self.faulty and self.lives % 2 == 0,
        )  # fmt: skip
        self.relays.append(start_relay(life))

    def start_publisher(self, index: int) -> None:
        """One more publisher in the place of `index`."""
        self.lives += 1
        dsn = self.proxy.through if self.faulty else self.dsn
        self.publishers[index] = start_publisher(
            dsn, index, self.lives, self.seed, str(self.log), self.faulty
        )

    def replace_the_dead(self) -> None:
        """Start a relay for each that has ended, a publisher likewise."""
        for relay in [one for one in self.relays if one.exitcode is not None]:
            self.relays.remove(relay)
            if relay.pid not in self.stalled:
                self.injected["relay_died_by_itself"] += relay.exitcode == -signal.SIGKILL
            self.start_relay()
        for index, publisher in list(self.publishers.items()):
            if publisher.exitcode is not None:
                self.start_publisher(index)

    async def inject(self) -> None:
        """Do one thing, drawn by its weight; what takes time goes on by itself."""
        kinds = list(WEIGHTS)
        kind = self.random.choices(kinds, [WEIGHTS[one] for one in kinds])[0]
        if kind.startswith("commit_cut_"):
            await self._cut(Cut(kind.removeprefix("commit_cut_")), kind)
            return
        match kind:
            case "all_connections_cut":
                self.injected[kind] += self.proxy.cut_all() > 0
            case "relay_killed":
                self._kill(self.random.choice(self.relays), kind)
            case "publisher_killed":
                self._kill(self.random.choice(list(self.publishers.values())), kind)
            case "relay_stalled" if not self.stalled:
                self._go_on_later(self._stall(self.random.choice(self.relays)))
            case "server_killed":
                await asyncio.to_thread(self.embedded.crash)
                await asyncio.to_thread(self.embedded.restart)
                self.injected[kind] += 1
            case "receiver_busy" | "receiver_hangs_up" | "receiver_slow":
                await self._misbehave(kind)
            case _:
                pass

    async def _cut(self, cut: Cut, kind: str) -> None:
        before = self.proxy.cuts
        self.proxy.arm(cut)
        with suppress(TimeoutError):
            async with asyncio.timeout(CUT_WITHIN_SECONDS):
                await self.proxy.taken.wait()
        self.proxy.disarm()
        self.injected[kind] += self.proxy.cuts - before

    def _kill(self, process: BaseProcess, kind: str) -> None:
        if process.exitcode is None and process.pid not in self.stalled:
            process.kill()
            process.join()
            self.injected[kind] += 1
            if process in self.relays:
                self.relays.remove(process)
                self.start_relay()

    async def _stall(self, relay: BaseProcess) -> None:
        """Stop a process for longer than a lease; another one works in its place meanwhile."""
        pid = relay.pid
        assert pid is not None, "it was started"
        self.stalled.add(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            lease = self.timeout.total_seconds() + 10
            await moment(lease + 2)
            self.injected["relay_stalled"] += 1
        finally:
            os.kill(pid, signal.SIGCONT)
            self.stalled.discard(pid)

    async def _misbehave(self, kind: str) -> None:
        receiver = self.receiver
        receiver.answers = {
            "receiver_busy": lambda: "busy", "receiver_hangs_up": lambda: ""
        }.get(kind, lambda: "taken")  # fmt: skip
        receiver.answer_seconds = 2 * self.timeout.total_seconds() if kind == "receiver_slow" else 0
        before = receiver.seen
        await moment(MISBEHAVES_SECONDS)
        receiver.answers, receiver.answer_seconds = (lambda: "taken"), 0
        self.injected[kind] += receiver.seen > before

    def _go_on_later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def calm_down(self) -> None:
        """Wait until nothing is stalled any more."""
        if self._later:
            await asyncio.wait(self._later)

    def left(self) -> int:
        """How many deliveries wait or are leased."""
        with psycopg.connect(self.dsn) as conn:
            row = conn.execute(
                "select count(*) from outbox.delivery where unknown_at is null"
            ).fetchone()
        return -1 if row is None else int(row[0])


async def moment(seconds: float) -> None:
    """Let the others go on for so long: a fault has a duration."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
